"""Standing copies: what they hold, that they are made once and whole or not at all, and that two evaluators, each with
its own, have no file in common.

All but the last are of a handful of files; the copies of this machine's software are those that every run uses.
"""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunFailure
from harness.formats.observer import Observer
from harness.sandbox import belongings, inventory, levels, namespaces, software, standing_copy
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree
from harness.sandbox.standing_copy import SIDES, StandingCopies, Wanted
from harness.status import Status
from harness.system import whereabouts

ROOT = Path(__file__).resolve().parents[3]
MAKER = """
import os, signal, sys
from pathlib import Path
from harness.formats.observer import Observer
from harness.sandbox import inventory, software, standing_copy
from harness.sandbox.standing_copy import Wanted

place, shown, copied = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
copy_file = inventory._copy_file

def counted(path, target, what):
    with copied.open("a") as file:
        file.write("x")
    copy_file(path, target, what)
    if sys.argv[4] == "killed" and copied.stat().st_size == 3:
        os.kill(os.getpid(), signal.SIGKILL)

inventory._copy_file = counted
wanted = Wanted((software.walk(shown, software.is_code),), None, ("one",))
print("ready", flush=True)
sys.stdin.readline()
with standing_copy._in_use(place, wanted, Observer()) as folder:
    print(folder.name, flush=True)
"""


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder of a program: code of several modes, links of both kinds, and words that are not shown."""
    folder = tmp_path / "shown"
    for name in ("a.py", "tool", "deep/b.so", "words.txt", "docs/c.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}")
    (folder / "tool").chmod(0o755)
    (folder / "deep" / "same.so").hardlink_to(folder / "deep" / "b.so")
    (folder / "link.py").symlink_to("a.py")
    for path in (folder / "a.py", folder / "deep"):
        os.utime(path, ns=(10**18, 10**18 + 1))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def of(shown: Path) -> Wanted:
    return Wanted((software.walk(str(shown), software.is_code),), None, ("one",))


def copies(place: Path, shown: Path) -> Path:
    """Where they stand, made if need be, and in use by nobody."""
    with standing_copy._in_use(place, of(shown), Observer()) as folder:
        return folder


def standing(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.is_dir())


def listed(root: Path) -> dict[str, tuple[int, str, int]]:
    """Mode, content and time of all below a folder, but for bytecode."""
    found = {}
    for path in root.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, os.readlink(path), 0)
        elif "__pycache__" not in path.parts:
            status = path.stat()
            content = "" if path.is_dir() else path.read_text()
            found[str(path.relative_to(root))] = (stat.S_IMODE(status.st_mode), content, status.st_mtime_ns)
    return found


def test_a_copy_holds_what_is_shown_and_nothing_else(place: Path, shown: Path) -> None:
    folder = copies(place, shown)
    first, second = (folder / side / shown.relative_to("/") for side in SIDES)
    wanted = {name: what for name, what in listed(shown).items() if name not in ("words.txt", "docs", "docs/c.py")}
    shown_time = {"deep": wanted["deep"]}  # the folder above has lost names, not its time
    assert listed(first) == listed(second) == wanted | shown_time
    assert (first / "deep" / "b.so").samefile(first / "deep" / "same.so")
    assert list(first.glob("__pycache__/a.*.pyc"))  # nobody may write there later
    inodes = [{path.stat().st_ino for path in root.rglob("*")} for root in (first, second, shown)]
    assert not any(one & other for number, one in enumerate(inodes) for other in inodes[:number])


def test_copies_are_made_once_and_again_when_a_file_changes(place: Path, shown: Path) -> None:
    first = copies(place, shown)
    kept = (first / "first").stat().st_ino
    (shown / "__pycache__").mkdir()  # as an import leaves it
    (shown / "__pycache__" / "a.pyc").touch()
    assert copies(place, shown) == first
    assert standing_copy._unchanged(place, of(shown)) == first  # and knows that from now on without a look at all
    assert (first / "first").stat().st_ino == kept
    (shown / "new.py").write_text("y")
    second = copies(place, shown)
    assert second != first
    assert standing(place) == [second.name]  # those of an earlier state are of no use
    for change in (lambda: (shown / "tool").chmod(0o700), lambda: os.utime(shown / "a.py", ns=(1, 1)),
                   lambda: (shown / "link.py").unlink()):  # fmt: skip
        before = inventory.digest(inventory.take(of(shown).nodes, bytecode=False))
        change()
        assert inventory.digest(inventory.take(of(shown).nodes, bytecode=False)) != before


def test_what_stands_unchanged_is_linked_from_earlier_copies_of_the_same_side(
    place: Path, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = copies(place, shown)
    one = (first / "first" / shown.relative_to("/") / "deep" / "b.so").stat().st_ino
    other = replace(of(shown), packages=("one", "two"))  # of the same files, and with a file more
    written, copy_file = list[str](), inventory._copy_file
    monkeypatch.setattr(inventory, "_copy_file", lambda path, *rest: (written.append(path), copy_file(path, *rest))[1])
    (shown / "tool").write_text("another tool of another size")
    (shown / "deep" / "new.so").write_text("new")
    with standing_copy._in_use(place, other, Observer()) as second:
        assert standing(place) == sorted([first.name, second.name])
    assert sorted(written) == sorted(2 * [str(shown / "deep" / "new.so"), str(shown / "tool")])
    assert (second / "first" / shown.relative_to("/") / "deep" / "b.so").stat().st_ino == one
    in_first, in_second = ({path.stat().st_ino for path in second.joinpath(side).rglob("*")} for side in SIDES)
    assert not in_first & in_second
    names = listed(second / "first").keys()
    del written[:]
    (shown / "deep" / "new.so").unlink()  # an update: what it replaces is removed after it was of use
    (shown / "deep" / "new.so").write_text("newer")
    with standing_copy._in_use(place, other, Observer()) as third:
        assert standing(place) == sorted([first.name, third.name])
    assert written == 2 * [str(shown / "deep" / "new.so")]
    assert listed(third / "first").keys() == listed(third / "second").keys() == names


def test_a_link_in_earlier_copies_never_leads_to_the_file_itself(place: Path, shown: Path, tmp_path: Path) -> None:
    """Where a folder was a link before, its path in those copies is that of the machine's own folder."""
    (shown / "deep").rename(tmp_path / "elsewhere")
    (shown / "deep").symlink_to(tmp_path / "elsewhere")
    copies(place, shown)
    (shown / "deep").unlink()
    (tmp_path / "elsewhere").rename(shown / "deep")
    (tmp_path / "elsewhere").symlink_to(shown / "deep")
    folder = copies(place, shown)
    for side in SIDES:
        copied = folder / side / shown.relative_to("/") / "deep" / "b.so"
        assert copied.read_text() == "# deep/b.so"
        assert not copied.samefile(shown / "deep" / "b.so")


def test_what_is_in_use_stays(place: Path, shown: Path) -> None:
    with standing_copy._in_use(place, of(shown), Observer()) as first:
        (shown / "new.py").write_text("y")
        second = copies(place, shown)
        assert standing(place) == sorted([first.name, second.name])
    (shown / "newer.py").write_text("z")
    assert standing(place) != [copies(place, shown).name, second.name]
    assert len(standing(place)) == 1


def test_what_nobody_has_used_for_long_goes_when_others_are_made(place: Path, shown: Path, tmp_path: Path) -> None:
    """So does what was made for an interpreter that is gone; another interpreter's stays."""
    others = {}
    for name, age_s in (("old", standing_copy.UNUSED_S + 60), ("gone", 0), ("young", 0)):
        other = copies(place, shutil.copytree(shown, tmp_path / name, symlinks=True))
        about = {"python": str(tmp_path / ("nowhere" if name == "gone" else name)), "packages": []}
        (other / "about.json").write_text(json.dumps(about))
        os.utime(other / "lock", (0, other.stat().st_mtime - age_s))
        others[name] = other.name
    made = copies(place, shown)
    assert standing(place) == sorted([others["young"], made.name])


def test_copies_that_have_lost_something_are_made_anew(
    place: Path, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clean what has not been read for weeks from a cache."""
    folder = copies(place, shown)
    lost = folder / "second" / shown.relative_to("/") / "a.py"
    lost.unlink()
    assert copies(place, shown) == folder
    assert lost.read_text() == "# a.py"
    lost.write_text("")  # as a crash leaves it, which nobody notices before the machine is started again
    assert copies(place, shown) == folder
    assert lost.read_text() == ""
    monkeypatch.setattr(whereabouts, "boot_id", lambda: "another")
    assert copies(place, shown) == folder
    assert lost.read_text() == "# a.py"


def maker(place: Path, shown: Path, copied: Path, mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(place), str(shown), str(copied), mode],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_maker_that_is_killed_leaves_nothing_for_long(place: Path, shown: Path, tmp_path: Path) -> None:
    process = maker(place, shown, tmp_path / "copied", "killed")
    process.communicate("go\n", timeout=600)
    assert process.returncode == -signal.SIGKILL
    (half,) = standing(place)
    assert half.startswith(".begun-")
    made = copies(place, shown)
    assert standing(place) == [made.name]


def test_two_makers_make_one(place: Path, shown: Path, tmp_path: Path) -> None:
    both = [maker(place, shown, tmp_path / "copied", "once") for _ in range(2)]
    said = [""] * 2

    def let_go(number: int) -> None:
        said[number] = both[number].communicate("go\n", timeout=600)[0]

    threads = [threading.Thread(target=let_go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [standing(place)[0] + "\n"] * 2
    assert len((tmp_path / "copied").read_text()) == 3 * len(SIDES)  # files


@pytest.mark.parametrize("text", ["", "null", "[", "{}", "[1]"])
def test_copies_whose_lists_the_machine_lost_are_made_anew(place: Path, shown: Path, text: str) -> None:
    folder = copies(place, shown)
    for name in (standing_copy._FOLDERS, standing_copy._ABOUT, standing_copy._SEEN):
        (folder / name).write_text(text)
    assert copies(place, shown) == folder
    assert json.loads((folder / standing_copy._ABOUT).read_text())["packages"] is not None
    assert listed(folder / "first").keys() == listed(folder / "second").keys()


@pytest.fixture
def small(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> View:
    """A view of a machine that consists of `shown`, and a cache folder of its own."""
    monkeypatch.setattr(software, "nodes", lambda *_: of(shown).nodes)
    monkeypatch.setattr(software, "links", lambda: ())
    monkeypatch.delenv("SPEEDRUN_COPIES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return View(packages=("one",), readable=(), home=tmp_path / "home")


def test_without_room_files_are_shared(small: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 9))  # type: ignore[attr-defined]
        with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
            assert found.folders == ()
            assert "two copies of the evaluators' files take" in found.lacking
            assert found.view(small, 1) is small
    with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
        assert [folder.name for folder in found.folders] == list(SIDES)
        assert found.folders[0].is_relative_to(tmp_path / "cache" / "speedrun" / "software")


def test_useless_copies_make_room(small: View, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an earlier state are linked from and then removed; where they leave no room, they are removed first."""
    with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
        old = found.folders[0].parent
    (shown / "new.py").write_text("# " + 100 * "y")
    free = lambda _: shutil._ntuple_diskusage(10, 10, 9 if old.exists() else 10**6)  # type: ignore[attr-defined]  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", free)
    with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
        assert found.lacking == ""
        assert standing(old.parent) == [found.folders[0].parent.name]
        assert found.folders[0].parent != old


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "b.so"),
                                   RunFailure(Status.INTERRUPTED, "the run was stopped by SIGINT")])  # fmt: skip
def test_who_cannot_finish_leaves_nothing(
    small: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    made = []

    def fail(*arguments: Any) -> None:
        made.append(arguments)
        if len(made) == 2:
            raise error

    monkeypatch.setattr(inventory, "_copy_file", fail)
    if isinstance(error, OSError):
        with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
            assert "No space left on device at b.so" in found.lacking
    else:
        with pytest.raises(RunFailure), standing_copy.held(small, tmp_path / "runs", Observer()):
            pass
    assert standing(tmp_path / "cache" / "speedrun" / "software") == []


def test_a_file_that_changes_meanwhile_is_never_half_of_a_copy(small: View, shown: Path, tmp_path: Path) -> None:
    found = inventory.take(of(shown).nodes, bytecode=True)
    (shown / "a.py").write_text("longer than it was")
    with pytest.raises(inventory.ChangedError, match="changed while it was copied"):
        inventory.copy(found, str(tmp_path / "copy"), [], is_ours=False, step=lambda: None)


def test_a_cache_that_cannot_be_written_is_left_for_the_runs_folder(
    small: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
        assert found.folders[0].is_relative_to(tmp_path / "runs" / ".software")
    monkeypatch.setenv("SPEEDRUN_COPIES", "/proc/speedrun")
    with standing_copy.held(small, tmp_path / "runs", Observer()) as found:
        assert "/proc/speedrun cannot be made" in found.lacking


def test_home_does_not_say_where_copies_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_CACHE_HOME", "SPEEDRUN_COPIES"):
        monkeypatch.delenv(name, raising=False)
    before = standing_copy.places(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert standing_copy.places(tmp_path) == before


def test_copies_are_mounted_around_what_else_is_seen(place: Path, shown: Path) -> None:
    """A home below a folder of the copy has to be made there, and nothing can be made in what is read-only."""
    root = copies(place, shown) / "first"
    apart = namespaces._mounts(root, ["/elsewhere"])
    top = shown.parts[1]
    assert apart == ["--ro-bind", f"{root}/{top}", f"/{top}"]
    around = namespaces._mounts(root, [f"{shown}/deep/home"])
    binds = [around[number + 2] for number, word in enumerate(around) if word == "--ro-bind"]
    assert binds == [f"{shown}/__pycache__", f"{shown}/a.py", f"{shown}/deep/b.so", f"{shown}/deep/same.so",
                     f"{shown}/tool"]  # fmt: skip
    assert ["--dir", str(shown / "deep")] == around[(at := around.index(str(shown / "deep"))) - 1 : at + 1]
    assert ["--symlink", "a.py", f"{shown}/link.py"] == around[(at := around.index("--symlink")) : at + 3]


# ------------------------------------------------------------------------------------------------ two real evaluators

WALK = """
import json, os, stat, sys
def note(path, status):
    files[path] = [status.st_dev, status.st_ino]
    with open(path, "rb"): pass
files, names = {}, {}
for folder, folders, entries in os.walk("/"):
    if folder == "/": folders[:] = [name for name in folders if name not in ("proc", "sys")]  # the kernel's
    for name in folders + entries:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        names[path] = [status.st_mode, os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""]
        if stat.S_ISREG(status.st_mode):
            try: note(path, status)
            except PermissionError: del files[path]
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("exe", *(f"fd/{fd}" for fd in range(10))):
        try: status = os.stat(f"/proc/{pid}/{name}")
        except OSError: continue
        if stat.S_ISREG(status.st_mode): files[f"/proc/{pid}/{name}"] = [status.st_dev, status.st_ino]
before = os.stat("/dev/null")
for note in (lambda: os.utime("/dev/null", (5, 5)), lambda: os.utime(0, (6, 6)), lambda: os.chmod("/dev/null", 0o600)):
    try: note()
    except OSError: pass
after = os.stat("/dev/null")
told = [files, names, [before.st_mtime_ns, before.st_mode] == [after.st_mtime_ns, after.st_mode]]
print(json.dumps(told))
"""


@pytest.fixture
def evaluator_view(tmp_path: Path) -> View:
    if "namespaces" not in levels.available_levels():
        pytest.skip("no namespaces on this machine")
    for name in ("inside", "source", "home"):
        (tmp_path / name).mkdir()
    belongings.put(tmp_path / "inside")
    (tmp_path / "source" / "submission.py").write_text("x = 1")
    readable = (tmp_path / "inside", tmp_path / "source")
    return View(packages=("torch", "numpy", "triton"), readable=readable, home=tmp_path / "home", evaluator=True)


def run_in(view: View, program: str, *arguments: str | Path) -> str:
    tree = ProcessTree("namespaces", view)
    try:
        process = tree.start([sys.executable, "-I", "-S", "-c", program, *map(str, arguments)])
        return process.communicate(timeout=600)[0].decode()
    finally:
        tree.kill()
        tree.close()


def walked(view: View) -> Any:
    return json.loads(run_in(view, WALK))


@pytest.mark.slow
def test_two_evaluators_have_no_file_in_common(evaluator_view: View, tmp_path: Path) -> None:
    """Nor can either tell by names, modes or links which of the two it is. Without copies they have all in common."""
    with standing_copy.held(evaluator_view, tmp_path / "runs", Observer()) as found:
        if not found.folders:
            pytest.skip(found.lacking)
        (first, names, unmarked), (second, same_names, _) = (walked(found.view(evaluator_view, n)) for n in range(2))
    assert names == same_names
    assert len(first) > 10_000
    assert {path for path in first if first[path] == second[path]} == set()
    assert {tuple(file) for file in first.values()} & {tuple(file) for file in second.values()} == set()
    assert unmarked
    shared, _, _ = walked(evaluator_view)
    again, _, _ = walked(evaluator_view)
    assert len({path for path in shared if shared[path] == again.get(path)}) > 10_000


TALK = """
import mmap, os, struct, sys
side, path, bits = sys.argv[1:]
with open(path, "rb") as file:
    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
memory.madvise(mmap.MADV_RANDOM)  # no page is read but those that are asked for
if side == "sends":
    told = sum(memory[(16 * (n // 15) + n % 15 + 1) * 4096] for n, bit in enumerate(bits) if bit == "1")
else:
    address = next(int(line.split("-")[0], 16) for line in open("/proc/self/maps") if line.rstrip().endswith(path))
    told = sum(memory[n * 4096] for n in range(0, len(memory) // 4096, 16))  # with each, what is in memory around it
    with open("/proc/self/pagemap", "rb") as pages:
        pages.seek(address // 4096 * 8)
        entries = struct.unpack(f"={len(memory) // 4096}Q", pages.read(len(memory) // 512))
    present = ["01"[entry >> 63] for n, entry in enumerate(entries) if n % 16]
    print("".join(present)[:len(bits)])
"""


@pytest.mark.parametrize("copied", [False, True])
def test_a_word_in_the_pages_of_a_file_reaches_nobody(evaluator_view: View, tmp_path: Path, copied: bool) -> None:
    """By reading some pages of a file one evaluator can tell another 15 bits with every 64 kB: but of the same file."""
    bits = format(random.Random(5).getrandbits(300), "0300b")
    path = tmp_path / "source" / "ballast"
    path.write_bytes(b"\1" * 4096 * 16 * 22)
    copies = StandingCopies((tmp_path / "first", tmp_path / "second") if copied else ())
    views = [replace(copies.view(evaluator_view, side), software=None) for side in range(2)]
    for view in views:  # as after a start of the machine
        with open(f"{view.own or ''}{path}", "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    heard = [run_in(view, TALK, side, path, bits) for view, side in zip(views, ("sends", "listens"), strict=True)][1]
    if not copied and heard.strip() != bits:
        pytest.skip("this kernel, or the file system of temporary files, does not show what is in memory so")
    assert heard.strip() == ("0" * len(bits) if copied else bits)

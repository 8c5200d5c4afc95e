"""Wheels by hash: nothing that a stranger's record names is executed outside a sandbox, or installed without a hash."""

import base64
import hashlib
import inspect
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typing_extensions

from harness.errors import RecordError, UserError
from harness.formats import environment, layout
from harness.records.environments import EnvironmentLock, build, find_python, read_lock
from harness.records.record import read_record
from harness.records.wheel_locks import lock_path, read_wheel_lock, wheels_beside, wheels_for
from harness.sandbox import software

BIGRAM = Path(__file__).resolve().parents[2] / "submissions" / "bigram.py"
HASH = f"--hash=sha256:{'0' * 64}"
SAID = "the poisoned package was here"


def a_wheel(place: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> str:
    """A wheel of these files, in a folder that pip can look into; returns its line for a lock."""
    info = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {other}\n" for other in requires)
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    place.mkdir(exist_ok=True)
    wheel = place / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks into."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def poison(index: Path, marker: Path) -> str:
    """A package that acts whenever an interpreter starts beside it, and when torch imports what it stands for.

    It says so, and leaves a file where it can.
    """
    act = (
        f"import sys, pathlib; sys.stderr.write({SAID!r} + chr(10)); "
        f"pathlib.Path({str(marker.parent)!r}).is_dir() and pathlib.Path({str(marker)!r}).write_text('x')\n"
    )
    real = inspect.getsource(typing_extensions)
    files = {"poison.pth": act, "poison.py": "", "typing_extensions.py": f"{real}\n{act}"}
    return a_wheel(index, "poison", "1.0", files)


def this_python() -> Path:
    found = find_python(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert found is not None
    return found


def test_nothing_of_a_poisoned_package_runs_when_it_is_installed_or_looked_at(tmp_path: Path, index: Path) -> None:
    marker = tmp_path / "marker"
    lines = (poison(index, marker), a_wheel(index, "torch", "9.9.9", {"torch/version.py": "cuda = '12.8'\n"}))
    for _ in range(2):  # the second time it is there
        interpreter = build(tmp_path / "runs", this_python(), lines)
        world = environment.collect(interpreter)
    assert world.packages == {"poison": "1.0", "torch": "9.9.9"}
    assert (world.torch, world.cuda) == ("9.9.9", "12.8")
    assert world.python == environment.collect().python
    assert not marker.exists()


@pytest.mark.parametrize("case", ["another file", "no wheel", "what it needs"])
def test_only_wheels_of_the_very_hash_are_installed(tmp_path: Path, index: Path, case: str) -> None:
    marker = tmp_path / "marker"
    line = poison(index, marker)
    if case == "another file":
        poison(index, tmp_path / "other")
    elif case == "no wheel":
        (index / "poison-1.0-py3-none-any.whl").unlink()
        (index / "poison-1.0.tar.gz").write_bytes(b"a source distribution would run its setup.py")
    else:
        line = a_wheel(index, "needs", "1.0", {"needs.py": ""}) + "\npoison"  # a line of a hostile lock
    with pytest.raises(UserError, match="expected every wheel"):
        build(tmp_path / "runs", this_python(), (line,))
    assert not marker.exists()


HOSTILE = [
    "torch==1.0", f"torch {HASH}", f"torch==1.0 {HASH} --index-url=http://a", "-r other.txt", "--index-url http://a",
    "torch @ file:///x", f"torch==1.0 {HASH[:-1]}", f"torch==1.0 {HASH}\ntorch==1.1 {HASH}", f"../x==1 {HASH}",
    f"torch==1.0; python_version>'3' {HASH}", f"torch==1.0 {HASH} \\",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE)
def test_a_lock_has_lines_of_one_form(tmp_path: Path, line: str) -> None:
    path = tmp_path / "torch-1.0.txt"
    path.write_text(f"# words\n\n{line}\n")
    with pytest.raises(RecordError, match="expected one line"):
        read_wheel_lock(path)


def test_what_has_no_hash_is_left_out(tmp_path: Path) -> None:
    (tmp_path / layout.LOCKS_DIR).mkdir()
    lock = EnvironmentLock("3.11.7", {"torch": "1.0", "numpy": "2.0", "evil": "1.0"})
    with pytest.raises(UserError, match=r"expected wheels by hash for torch 1\.0"):
        wheels_for(tmp_path, lock)
    path = tmp_path / layout.LOCKS_DIR / "torch-1.0.txt"
    path.write_text(f"numpy==2.1 {HASH}\ntorch==1.0 {HASH}\nfilelock==3.0 {HASH}\n")
    found = wheels_for(tmp_path, lock)
    assert found.requirements == (f"torch==1.0 {HASH}",)
    assert found.left_out == ("numpy==2.0", "evil==1.0")  # another version is another package
    path.write_text(f"numpy==2.0 {HASH}\n")
    with pytest.raises(UserError, match=r"expected torch 1\.0"):
        wheels_for(tmp_path, lock)
    for packages in ({}, {"torch": "../../x"}):
        with pytest.raises(UserError, match="expected torch"):
            wheels_for(tmp_path, EnvironmentLock("3.11.7", packages))


def test_every_record_of_this_checkout_has_its_wheels() -> None:
    for track in (layout.records_root() / name for name in ("nano-2cpu", "shakespeare-2cpu")):
        for folder in layout.record_dirs_of(track):
            record = read_record(folder)
            found = wheels_for(track, read_lock(folder, record.runs[0].environment))
            assert any(line.startswith("torch==") for line in found.requirements)


def modules_of_torch() -> dict[str, Path]:
    """What torch and numpy consist of here, with what they require: names in folders of packages, where they lie."""
    found = {}
    for site in software.sites(None):
        names = {name for d in software.closure(("torch", "numpy"), site) for name in software.top_level(d)}
        found |= {name: site / name for name in names if not name.endswith(software.INFO) and (site / name).is_dir()}
    return found


@pytest.fixture
def wheels(contest: Path, index: Path, tmp_path: Path) -> list[str]:
    """The lines of a lock with a poisoned package, which a track has been talked into; torch requires it."""
    files = {f"{name}/__init__.py": "" for name in modules_of_torch()}
    lines = [poison(index, tmp_path / "marker"), a_wheel(index, "torch", "9.9.9", files, ("poison",))]
    (contest / layout.LOCKS_DIR).mkdir()
    (contest / layout.LOCKS_DIR / "torch-9.9.9.txt").write_text("\n".join(lines) + "\n")
    return lines


@pytest.fixture
def poisoned_record(tmp_path: Path, make_bundle: Any, make_record: Any, bundles: ModuleType) -> Path:
    """A record that says it had a poisoned package."""
    packages = {"poison": "1.0", "torch": "9.9.9", "unknown": "1.0"}
    python = ".".join(map(str, sys.version_info[:3]))
    world = bundles.ENVIRONMENT.model_copy(update={"packages": packages, "torch": "9.9.9", "python": python})
    source = {"train_gpt.py": BIGRAM.read_text().replace("100_000)", "100_000 - run.seed)")}
    return Path(make_record(make_bundle(tmp_path / "b", sources={"candidate": source}, environment=world), "Poisoned"))


@pytest.mark.slow
def test_a_reproduction_in_a_poisoned_environment_runs_nothing_of_it_outside_the_sandbox(
    speedrun: Any,
    contest: Path,
    wheels: list[str],
    poisoned_record: Path,
    tmp_path: Path,
    with_seeds: Callable[..., Any],
) -> None:
    """The package acts in every process of the submission, and in none of the referee's or the judge's."""

    def reproduce(*words: str) -> tuple[int, str, str]:
        process = speedrun.start(
            *with_seeds(2000, 10_000, 18_000), "reproduce", str(poisoned_record), "--no-relabel", "--runs", "3", *words,
            SPEEDRUN_RECORDS=str(contest.parent), PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null",
            PIP_FIND_LINKS=str(tmp_path / "wheels"),
            SPEEDRUN_COPIES="/proc",  # nowhere: copies of this environment would be made for this test alone
        )  # fmt: skip
        stdout, stderr = process.communicate(timeout=500)
        return process.returncode, stdout, stderr

    code, _, stderr = reproduce("--json")
    assert code == 2
    assert "expected --yes" in stderr
    assert "poison==1.0" in stderr
    assert not list(speedrun.runs.glob("environments/*"))
    site = environment.site_of(build(speedrun.runs, this_python(), tuple(wheels)))
    for name, real in modules_of_torch().items():  # a torch that works, in place of the wheel's
        shutil.rmtree(site / name)
        (site / name).symlink_to(real)
    code, stdout, stderr = reproduce("--json", "--yes")
    found = json.loads(stdout)
    runs = sorted(Path(found["campaign"]).glob("runs/*"))
    logs = [(run / "log.txt").read_text(errors="replace") for run in runs]
    assert found["runs"] == 3, stdout + stderr + logs[0]
    assert "unknown is not installed here" in stderr
    assert SAID not in stderr
    assert not (tmp_path / "marker").exists()
    for run, log in zip(runs, logs, strict=True):
        assert SAID in log
        told = json.loads((run / "run.json").read_bytes())["environment"]
        assert (told["torch"], told["packages"]) == ("9.9.9", {"poison": "1.0", "torch": "9.9.9"})


def test_a_script_of_others_gets_what_the_track_knows_by_hash_and_no_more(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "2.6.0")
    path.parent.mkdir()
    path.write_text(f"numpy==2.1.0 {HASH}\ntorch==2.6.0 {HASH}\n")
    found = wheels_beside(tmp_path, "2.6.0", ("numpy", "tqdm"))
    assert found.requirements == (f"numpy==2.1.0 {HASH}", f"torch==2.6.0 {HASH}")
    assert found.left_out == ("tqdm",)
    with pytest.raises(UserError, match=r"expected wheels by hash for torch 2\.7\.0"):
        wheels_beside(tmp_path, "2.7.0", ())
    path.write_text(f"torch==2.6.1 {HASH}\n")
    with pytest.raises(UserError, match="found another"):
        wheels_beside(tmp_path, "2.6.0", ())

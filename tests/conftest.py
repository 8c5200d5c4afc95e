"""Fixtures for tests that start the real thing: the console command, torchrun with gloo, the sandbox.

How the tests share a machine is decided here too. Under pytest-xdist the tests of one file stay together on one worker
and in order, since they share fixtures; where every test is a world of its own, the file stands in `ONE_BY_ONE` and any
worker takes any of them. Worlds have their own TMPDIR, machine lock, runs and data; what a session needs once (the
embedded corpus) is built by whichever worker comes first.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# Before anything reads them: what the caller's shell, terminal, git or Hub account says is no part of a test.
FOREIGN = ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "PY_COLORS", "TTY_", "COLUMNS", "LINES", "TERMINAL_WIDTH",
           "GITHUB_ACTIONS", "GIT_", "HF_", "PYTHON", "SPEEDRUN_", "TORCHELASTIC_", "MASTER_", "RANK",
           "WORLD_SIZE")  # fmt: skip
for _name in [name for name in os.environ if name.startswith(FOREIGN)]:
    del os.environ[_name]
os.environ["TERM"], os.environ["GIT_CONFIG_GLOBAL"] = "xterm", os.devnull
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: the same sums on every machine, and no threads that spin for cores
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind a shell's `&`; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGQUIT, signal.SIGHUP):  # as behind `&` and nohup
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

from data import datasets  # noqa: E402
from harness.formats.observer import Observer  # noqa: E402
from harness.formats.track import load_track  # noqa: E402
from harness.sandbox import levels, standing_copy  # noqa: E402
from harness.sandbox.policy import View  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ONE_BY_ONE = {
    f"tests/{name}.py"
    for name in (
        "cheats/test_honest", "cheats/test_museum", "harness/campaigns/test_runner", "harness/referee/test_endings",
        "harness/referee/test_execution", "harness/referee/test_failures", "harness/referee/test_torchrun",
        "harness/sandbox/test_leaks", "harness/sandbox/test_sandbox", "harness/sandbox/test_users",
        "harness/system/test_load",
    )
}  # fmt: skip
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
UNSET = {
    "prepare_free_cpu_s": "budget",
    "before_go_share": "rules",
}  # keys the tiny track leaves out, and their sections

# The same examples every time, however slow the machine; `make test-all` looks for new ones. Fixtures are folders,
# which examples may share.
LENIENT = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("explore", deadline=None, suppress_health_check=LENIENT)
settings.register_profile("seeded", settings.get_profile("explore"), derandomize=True)
settings.load_profile("seeded")

# With --strict-skips only these may be missing: every other skip is a failure, since it would hide what was not tested.
NEEDS = ("needs a CUDA device", "needs a CUDA build", "needs a checkout")

PATIENCE_S = 600.0  # what an idle machine does in seconds; nothing waits so long where nothing hangs
T = TypeVar("T")
SUBMISSION = """
import os, signal, sys, threading, time
import torch
EVAL_TOKENS, EVAL_BATCH = 128, 16
{top}

def train(run):
    weights = {{}} if run.rank else {{"table": torch.zeros(run.vocab_size)}}
{prepare}
    run.reserve(weights)
    shards = run.go()
{train}
    run.stop(weights)

def load(weights, device):
{load}
    def logits(tokens):
{logits}
        return weights["table"].expand(*tokens.shape, -1)
    return logits
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips", action="store_true", help=f"a skip is a failure unless its reason begins with {NEEDS}"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one at the end; whole files before single tests."""
    items.sort(key=lambda item: (-allowed_s(item), str(item.path.relative_to(ROOT)) in ONE_BY_ONE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Work units are whole files, and single tests of those in ONE_BY_ONE.

    Marks of xdist's own groups would do, but from pytest 9.2 on they are not seen.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrTest(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return nodeid if file in ONE_BY_ONE else file

    return ByFileOrTest(config, log)


def allowed_s(item: pytest.Item) -> float:
    """The seconds a test is allowed beyond what all are: known for those that take long."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0.0


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A file's content is no part of a test's name: workers whose content differs by a time stamp would not agree."""
    return argname if isinstance(val, bytes) or (isinstance(val, str) and ("\n" in val or len(val) > 120)) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield
    return fail_a_skip(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report: pytest.CollectReport = yield
    return fail_a_skip(report, collector.config)


def fail_a_skip(report: Any, config: pytest.Config) -> Any:
    """The report, failed where --strict-skips does not allow its skip."""
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("--strict-skips"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(NEEDS):
            report.outcome, report.longrepr = "failed", f"skipped, which --strict-skips does not allow: {reason}"
    return report


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command came to, seen from outside."""

    code: int
    stdout: str
    stderr: str
    folders: list[Path]  # of runs, oldest first

    @property
    def folder(self) -> Path:
        return self.folders[-1]

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / "run.json").read_bytes())
        return record

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")


@dataclass(slots=True)
class Speedrun:
    """The command in a world of its own: its TMPDIR, its machine lock, its runs, the shared data."""

    temporary: Path
    data: Path
    runs: Path
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        own = {
            "TMPDIR": self.temporary,
            "SPEEDRUN_LOCKS": self.temporary,
            "SPEEDRUN_DATA": self.data,
            "SPEEDRUN_RUNS": self.runs,
            "SPEEDRUN_CACHE": self.temporary.with_name("cache"),
        }
        return os.environ | {name: str(value) for name, value in own.items()} | more

    def start(self, *argv: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
        """Any command, in the background; whatever is left of it is killed at the end of the test."""
        process = subprocess.Popen(
            [str(part) for part in argv],
            cwd=cwd,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def begin(self, script: Path, *arguments: str | Path, track: Path = TRACK) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-m", "harness", "run", script, "--track", track, *arguments)

    def end(self, process: subprocess.Popen[str]) -> Outcome:
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"{expired}\n{stdout[-2000:]}\n{stderr[-2000:]}\n{self.logs()}") from None
        return Outcome(process.returncode, stdout, stderr, sorted(path.parent for path in self.runs.glob("*/run.json")))

    def run(self, script: Path, *arguments: str | Path, track: Path = TRACK) -> Outcome:
        """One run to its end, and nothing left of it."""
        outcome = self.end(self.begin(script, *arguments, track=track))
        assert self.leftovers() == []
        return outcome

    def processes(self) -> list[int]:
        """Whoever names our TMPDIR on its command line or in its environment."""
        mark, found = str(self.temporary).encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # gone meanwhile
                continue
        return found

    def leftovers(self) -> list[str]:
        """Processes, scratch folders and reserved space that outlive a run."""
        folders = [p for parent in (self.temporary, self.data) for p in parent.glob("speedrun-*") if p.is_dir()]
        begun = [*self.runs.glob("**/.reserve"), *self.runs.glob(".begun-*"), *self.runs.glob("**/.*.tmp")]
        return [f"process {pid}" for pid in self.processes()] + [str(path) for path in folders + begun]

    def wait_for(self, marker: str) -> Path:
        """Until the newest run's log holds a marker; returns that run's folder."""

        def look() -> Path | None:
            logs = sorted(self.runs.glob("*/log.txt"))
            return logs[-1].parent if logs and marker in logs[-1].read_text(errors="replace") else None

        return until(look, f"{marker!r} in a log", saw=self.logs)

    def logs(self) -> str:
        """The ends of all logs, for who waits in vain."""
        return "\n".join(f"{p}: {p.read_text(errors='replace')[-2000:]}" for p in sorted(self.runs.glob("**/log.txt")))

    def stop_everything(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def until(
    look: Callable[[], T | None], what: str, seconds: float = PATIENCE_S, saw: Callable[[], object] = lambda: ""
) -> T:
    """Poll until something is there; who waits in vain says for what, and what there was instead."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}\n{saw()}")


@pytest.fixture(scope="session", autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test starts in this process finds a lock, runs, data and an index of this worker's own."""
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOCKS", "RUNS", "DATA", "CACHE"):
            (folder / name.lower()).mkdir()
            patch.setenv(f"SPEEDRUN_{name}", str(folder / name.lower()))
        yield


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the small embedded dataset, built once for all workers, and its text as `tales`."""
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared-data"
    root.mkdir(exist_ok=True)
    with FileLock(root / "lock"):
        datasets.prepare(datasets.load_dataset("embedded-tiny"), root)
        if not (root / "tales").exists():
            write_tales(root)
    return root


def write_tales(root: Path) -> None:
    """A dataset `tales` whose shards are always the same, as those of tracks that do not make their own text: what a
    cheat knows of them by heart is worth something there.
    """
    tiny = datasets.load_dataset("embedded-tiny")
    tales = tiny.model_copy(update={"name": "tales", "kind": "local", "seed": None})
    shutil.copytree(root / tiny.name, root / "tales.new")
    datasets.write_manifest(datasets.own_manifest_path(root / "tales.new"), tales)
    (root / "tales.new").rename(root / "tales")


@pytest.fixture(scope="session")
def evaluators_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The copies that evaluators of every run read, made before a test that waits for one: it can take a minute."""
    if "namespaces" in levels.available_levels():
        place = tmp_path_factory.mktemp("copies")
        packages = load_track(str(TRACK)).rules.imports
        with standing_copy.held(View(packages=packages, readable=(), home=place / "home"), place, Observer()):
            pass


@pytest.fixture(scope="session")
def make_speedrun(data_root: Path, evaluators_files: None) -> Iterator[Callable[[], Speedrun]]:
    """Makes worlds to run in; two of them may run at once."""
    with tempfile.TemporaryDirectory(prefix="sr-") as parent:
        made: list[Speedrun] = []

        def make() -> Speedrun:
            world = Path(tempfile.mkdtemp(dir=parent))
            (world / "tmp").mkdir()
            (world / "data").mkdir()
            for name in ("embedded-tiny", "tales"):
                (world / "data" / name).symlink_to(data_root / name)
            made.append(Speedrun(world / "tmp", world / "data", world / "runs"))
            return made[-1]

        yield make
        for speedrun in made:
            speedrun.stop_everything()


@pytest.fixture
def speedrun(make_speedrun: Callable[[], Speedrun]) -> Iterator[Speedrun]:
    speedrun = make_speedrun()
    yield speedrun
    speedrun.stop_everything()


@pytest.fixture(scope="session")
def bundles() -> ModuleType:
    """tests/bundles.py: invented campaigns and runs."""
    spec = importlib.util.spec_from_file_location("bundles", ROOT / "tests" / "bundles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_bundle(bundles: ModuleType) -> Callable[..., Path]:
    """make_bundle(folder, track, candidate_times, candidate_losses, ...): an invented campaign, of tests/bundles.py."""
    make: Callable[..., Path] = bundles.make_bundle
    return make


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture(scope="session")
def write_track() -> Callable[..., Path]:
    """write_track(folder, key=value, ...): the tiny track with other numbers."""

    def write(folder: Path, **changes: object) -> Path:
        text = TRACK.read_text()
        for key in UNSET.keys() & changes.keys():
            text = text.replace(f"[{UNSET[key]}]", f"[{UNSET[key]}]\n{key} = 0", 1)
        for key, value in changes.items():
            text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
            assert count == 1, key
        (folder / "track.toml").write_text(text)
        return folder / "track.toml"

    return write


@pytest.fixture(scope="session")
def standing_track(write_track: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny track on the dataset `tales`, whose shards are the same in every run."""
    return write_track(tmp_path_factory.mktemp("standing"), dataset='"tales"')


@pytest.fixture(scope="session")
def write_submission() -> Callable[..., Path]:
    """write_submission(folder, part=lines, ...): a uniform guess, with misbehaviour where it is wanted.

    Parts: top (of the module), prepare (before reserve), train (after go), load, logits.
    """

    def write(folder: Path, **parts: str) -> Path:
        texts = dict.fromkeys(("top", "prepare", "train", "load", "logits"), "") | parts
        depth = {"top": 0, "logits": 8}
        indented = {part: textwrap.indent(text.strip("\n"), " " * depth.get(part, 4)) for part, text in texts.items()}
        (folder / "submission.py").write_text(SUBMISSION.format(**indented))
        return folder / "submission.py"

    return write

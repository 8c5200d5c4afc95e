"""A self-timed script, run as it is: sandboxed, watched and recorded, never refereed.

It keeps its own clock, reads its own data and validates itself, so whatever comes out of it is of tier `reported`. The
referee adds what it saw from outside: when each line arrived, how long it took, what it used. A checkpoint it leaves
can be scored by our judge afterwards: then at least the loss is measured.
"""

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import RunFailure
from ..formats import layout
from ..formats.logfile import LogFile
from ..formats.messages import Log
from ..formats.observer import Observer
from ..formats.run import Finding, full_disk_is_a_failure, new_run_id
from ..formats.run_folder import RecordFolder
from ..referee import machine, temporary
from ..referee.machine import held_to
from ..referee.recording import record_to_its_end
from ..sandbox import levels
from ..sandbox.policy import Limits, View
from ..sandbox.process_tree import ProcessTree
from ..sandbox.usage import Meter, Use
from ..scoring.findings import findings
from ..status import Status
from ..system import clock, interrupts, processes
from ..system.clock import NS
from ..system.interrupts import Interrupts
from .checkpoints import ADAPTERS, score_checkpoint
from .grammars import Reading
from .observed_log import LineStamper, read_observed_log
from .record import Gpus, Measured, Observed, SelfTimedRecord, close_abandoned_scripts, encode
from .run_state import SelfTimedRequest, SelfTimedState, closed, first_record, outcome
from .surroundings import Eraser, not_passed, source_changed
from .workcopy import linked_outside, take_out, take_working_copy

PIPE_READ_BYTES = 2**16
LEAST_WAIT_S = 0.2
LOG_BYTES = 64 * 2**20


def execute_self_timed(request: SelfTimedRequest, observer: Observer) -> tuple[SelfTimedRecord, Path]:
    """Run it, listen, record. Returns the closed record and its folder; a script that fails is a record too.

    Raises UserError or RunFailure only when not even the folder can be made.
    """
    levels.check_level(request.require_sandbox)
    processes.adopt_orphans()
    with Interrupts() as interrupts:
        close_abandoned_scripts(request.runs_root)
        folder = RecordFolder(
            request.runs_root, request.run_id or new_run_id(clock.utc_now()), layout.LEGACY_FILE, encode
        )
        first, state = first_record(request, folder.run_id), SelfTimedState()
        record = record_to_its_end(
            folder,
            interrupts,
            first,
            lambda: _execute(request, folder.path, state, observer),
            lambda: outcome(request, state),
            lambda status, sentence: closed(first, state, status, sentence),
        )
    return record, folder.path


def _execute(request: SelfTimedRequest, folder: Path, state: SelfTimedState, observer: Observer) -> None:
    """Every step in order; each fills in what it learns."""
    level = state.sandbox = levels.choose(request.require_sandbox)
    state.surroundings = not_passed(request.checkout, (*request.environment, *request.secrets), request.device)
    with (
        full_disk_is_a_failure(),
        nullcontext() if request.holds_machine else machine.exclusive(request.wait, request.on_wait),
        _workplace(request, folder, level) as place,
    ):
        try:
            _run(request, state, observer, place)
        finally:
            with interrupts.deferred():
                state.log_truncated = place.log.truncated
                if state.start_ns is not None and state.end_ns is not None:
                    state.observed_log = read_observed_log(place.stamper, state.start_ns, state.end_ns)
                    state.surroundings += source_changed(request.checkout, place.work)
        interrupts.insist()
        if request.checkpoint is not None:
            state.measured = _measure(request, folder, state, observer, place)
            state.broken_rules = _broken_rules(request, state.measured)


@dataclass(slots=True)
class _ScriptWorkplace:
    """The temporary things of one run."""

    temporary: Path
    tmpdir: Path | None  # where the script needs a shorter one than its home
    work: Path
    log: LogFile
    stamper: LineStamper
    eraser: Eraser


@contextmanager
def _workplace(request: SelfTimedRequest, folder: Path, level: str) -> Iterator[_ScriptWorkplace]:
    with temporary.temporary_folders(level) as made:
        most = request.track.budget.log_bytes if request.track else LOG_BYTES
        log = LogFile(folder / layout.LOG_FILE, most)
        try:
            work = made.path / request.checkout.name
            for path in (work, made.path / "home"):
                path.mkdir()
            take_working_copy(request.checkout, work, request.data_root)
            yield _ScriptWorkplace(
                made.path, made.short, work, log, LineStamper(request.grammars), Eraser(request.secrets)
            )
        finally:
            log.close()


def _view(request: SelfTimedRequest, place: _ScriptWorkplace) -> View:
    """The checkout and the data to read, a working copy to write. It validates itself, so nothing is withheld."""
    datasets = [p.resolve() for p in request.data_root.iterdir()] if request.data_root.is_dir() else []
    budget, cores = request.track.budget if request.track else None, _cores(request)
    caches = _caches()
    threads = {"OMP_NUM_THREADS": str(max(1, len(cores) // request.world_size))} if request.world_size > 1 else {}
    return View(
        python=request.python,
        readable=(
            request.checkout.root,
            *(path for path in datasets if path.is_dir()),
            *linked_outside(request.checkout.root),
            *(target for _, target in request.checkout.linked),
            *request.readable,
            *caches.values(),
        ),
        writable=(place.work, *(() if place.tmpdir is None else (place.tmpdir,))),
        home=place.temporary / "home",
        environment={
            **({} if place.tmpdir is None else {"TMPDIR": str(place.tmpdir)}),
            "PYTHONPATH": str(place.work),
            **threads,
            **{name: str(path) for name, path in caches.items()},
            **dict(request.environment),
            **dict(request.secrets),
        },
        cuda=request.device == "cuda",
        limits=Limits(memory_bytes=budget.memory_bytes, processes=budget.processes) if budget else Limits(),
    )


def _caches() -> dict[str, Path]:
    """What the caller has downloaded before and names in the environment: such scripts fetch it when they start."""
    named = {name: os.environ.get(name) for name in ("TIKTOKEN_CACHE_DIR", "HF_HUB_CACHE")}
    return {name: Path(path).resolve() for name, path in named.items() if path and Path(path).is_dir()}


def _cores(request: SelfTimedRequest) -> set[int]:
    return machine.cores(request.track) if request.track else os.sched_getaffinity(0)


def _argv(request: SelfTimedRequest, place: _ScriptWorkplace) -> list[str]:
    """From the script's own folder, as its authors start it."""
    script = place.work / request.checkout.entry
    argv = ["/usr/bin/env", "-C", str(script.parent), str(request.python or sys.executable)]
    if request.launcher == "torchrun":
        argv += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={request.world_size}"]
        argv += ["--local-addr=127.0.0.1"]  # all is local: the name of this host is nobody's to resolve
    return [*argv, script.name, *request.arguments]


def _run(request: SelfTimedRequest, state: SelfTimedState, observer: Observer, place: _ScriptWorkplace) -> None:
    """From the first process to the last. Raises RunFailure unless the script ends by itself and well."""
    assert state.sandbox is not None
    tree, meter = ProcessTree(state.sandbox, _view(request, place)), Meter()
    if request.device == "cuda":
        meter.watch_gpus(place.temporary / "gpus")
        tree.strangers = set(processes.children(os.getpid()))
    observer.phase("TRAIN", request.budget_s)
    state.start_ns = clock.now_ns()
    process: subprocess.Popen[bytes] | None = None
    try:
        with held_to(_cores(request)):
            process = tree.start(_argv(request, place))
        code = _listen(request, tree, process, meter, observer, place)
    except OSError as error:
        raise RunFailure(Status.LAUNCH_FAILED, f"cannot start the script: {error.strerror}") from error
    except RunFailure as failure:
        raise tree.explain(failure) from failure
    finally:
        with interrupts.deferred():
            tree.kill()
            processes.kill_children()
            if process is not None:
                _last_words(process, place)
            state.end_ns = clock.now_ns()
            state.observed = _observed(state.end_ns - state.start_ns, meter.end())
            tree.close()
    if code != 0:
        how = f"exit status {code}" if code > 0 else f"signal {-code}"
        raise RunFailure(Status.TRAIN_FAILED, f"the script ended with {how}; see the end of its log")


def _listen(
    request: SelfTimedRequest,
    tree: ProcessTree,
    process: subprocess.Popen[bytes],
    meter: Meter,
    observer: Observer,
    place: _ScriptWorkplace,
) -> int:
    """Read what it prints until it ends; returns its exit status."""
    assert process.stdout is not None
    deadline_ns, exit_fd = clock.now_ns() + int(request.budget_s * NS), os.pidfd_open(process.pid)
    os.set_blocking(process.stdout.fileno(), False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(exit_fd, selectors.EVENT_READ)
            while True:
                left_s = (deadline_ns - clock.now_ns()) / NS
                if left_s <= 0:
                    raise RunFailure(Status.TRAIN_TIMEOUT, f"the script took more than {request.budget_s:g} s")
                interrupts.insist()
                tree.watch()
                meter.look()
                wait_s = min(left_s, observer.tick(), max(tree.watch_s, LEAST_WAIT_S), 1.0)
                for key, _ in selector.select(wait_s):
                    if key.fileobj is not process.stdout:
                        return process.wait()
                    with interrupts.deferred():  # what was read is heard whole, whatever signal comes
                        if (chunk := os.read(key.fd, PIPE_READ_BYTES)) == b"":
                            selector.unregister(process.stdout)
                        else:
                            _hear_chunk(place, chunk, observer)
    finally:
        os.close(exit_fd)


def _hear_chunk(place: _ScriptWorkplace, chunk: bytes, observer: Observer) -> None:
    """Stamp, keep, show."""
    at_ns, chunk = clock.now_ns(), place.eraser.feed(chunk)
    place.log.write(chunk)
    reading = place.stamper.feed(chunk, at_ns)
    if reading is not None and reading.step is not None:
        observer.log(_shown(reading, reading.step))


def _shown(reading: Reading, step: int) -> Log:
    loss = reading.val_loss if reading.val_loss is not None else reading.train_loss
    most = 10**9
    return Log(
        kind="log", step=min(step, most), steps=min(reading.total, most) if reading.total else None, train_loss=loss
    )


def _last_words(process: subprocess.Popen[bytes], place: _ScriptWorkplace) -> None:
    """What was still in the pipe of a process that is dead."""
    assert process.stdout is not None
    process.wait()
    os.set_blocking(process.stdout.fileno(), False)
    silent = Observer()
    with process.stdout, suppress(BlockingIOError):  # only outside a pid namespace can a writer live on
        while chunk := os.read(process.stdout.fileno(), PIPE_READ_BYTES):
            _hear_chunk(place, chunk, silent)
    if rest := place.eraser.end():
        place.log.write(rest)
        place.stamper.feed(rest, clock.now_ns())


def _measure(
    request: SelfTimedRequest,
    folder: Path,
    state: SelfTimedState,
    observer: Observer,
    place: _ScriptWorkplace,
) -> Measured:
    """Take the checkpoint out of the working copy and have the judge score it. Raises UserError or RunFailure."""
    track, name, adapter = request.track, request.checkpoint, request.adapter
    assert track is not None and name is not None and adapter is not None and state.sandbox is not None
    taken = place.temporary / "checkpoint"
    taken.mkdir()
    files = {"checkpoint": taken / "checkpoint"}
    digest = take_out(place.work, name, files["checkpoint"], track.budget.weights_bytes)
    for companion in ADAPTERS[adapter].companions:
        files[companion] = taken / companion
        take_out(place.work, str(Path(name).parent / companion), files[companion], 2**20)
    score = score_checkpoint(
        files, adapter, request.checkout, track, request.data_root, level=state.sandbox, device=request.device,
        temporary=place.temporary, log=place.log, observer=observer,
    )  # fmt: skip
    if request.keep_checkpoint:
        os.replace(files["checkpoint"], folder / layout.CHECKPOINT_FILE)
    return Measured(adapter=adapter, checkpoint=name, checkpoint_sha256=digest, score=score)


def _broken_rules(request: SelfTimedRequest, measured: Measured) -> tuple[Finding, ...]:
    """What the judge's probes found: a model that looks ahead is measured, and told."""
    return () if request.track is None else tuple(findings(measured.score, request.track.evaluation))


def _observed(wall_ns: int, use: Use) -> Observed:
    return Observed(
        wall_ns=wall_ns,
        peak_memory_bytes=use.peak_memory_bytes,
        cpu_ns=use.cpu_ns,
        busy_cores=round(use.cpu_ns / max(1, wall_ns), 3),
        gpus=None if use.gpus is None else Gpus(**asdict(use.gpus)),
    )

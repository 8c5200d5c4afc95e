"""One refereed run from a request to a closed `run.json`, whatever becomes of it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data import datasets

from ..errors import DataError, RunFailure, UserError, machine_sentence
from ..formats import layout, weights
from ..formats.logfile import Curve, LogFile
from ..formats.observer import Observer
from ..formats.run import CurvePoint, RunRecord, Weights, full_disk_is_a_failure, new_run_id
from ..formats.run_folder import RunFolder, close_abandoned
from ..formats.submission import check_source, take_copy
from ..formats.weights import WeightBuffer
from ..sandbox import cgroups, inside, levels
from ..sandbox.levels import Limits, View
from ..sandbox.process_tree import ProcessTree
from ..scoring import relabelling
from ..scoring.scorer import EvaluatorSettings, Scorer, ScoreRequest
from ..status import Status
from ..system import clock, processes, scratch
from ..system.interrupts import Interrupts
from ..system.scratch import remove_tree
from . import machine
from .data_gate import DataGate
from .referee import Referee, RunOrders, listen
from .run_state import Request, RunState, closed, first_record, outcome, with_times

PRACTICE_VAL_TOKENS = 2**17  # a snapshot is scored on so many targets at most


def execute(request: Request, observer: Observer) -> tuple[RunRecord, Path]:
    """Run, score, record. Returns the closed record and its folder.

    A run that fails is a record too, with the status that names what happened. Raises UserError or RunFailure only
    when not even the folder of the run can be made.
    """
    levels.check_level(request.require_sandbox)
    processes.adopt_orphans()
    with Interrupts() as interrupts:
        close_abandoned(request.runs_root)
        folder = RunFolder(request.runs_root, request.run_id or new_run_id(clock.utc_now()))
        record, state = first_record(request, folder.run_id), RunState()
        status, sentence = Status.REFEREE_FAILED, "the referee itself failed; please report the traceback"
        try:
            with interrupts.raised():
                folder.save(record)
                _execute(request, folder, state, observer)
            status, sentence = Status.COMPLETE, outcome(state, request.track.target_val_loss)
        except RunFailure as failure:
            status, sentence = failure.status, failure.sentence
        except DataError as error:
            status, sentence = Status.DATA_INVALID, str(error)
        except UserError as error:
            status, sentence = Status.LAUNCH_FAILED, str(error)
        except OSError as error:  # a folder that was removed, a disk that fails: the machine's, not ours
            status, sentence = Status.MACHINE_FAILED, machine_sentence(error)
        finally:
            _leave_nothing(request)
            record = closed(record, state, status, sentence, request.track)
            folder.close(record)
    return record, folder.path


def _leave_nothing(request: Request) -> None:
    """No process, no scratch folder: a signal may have cut the ordinary cleaning short."""
    processes.kill_children()
    cgroups.sweep()
    for parent in (Path(tempfile.gettempdir()), request.data_root):
        scratch.remove_own(parent)


def _execute(request: Request, folder: RunFolder, state: RunState, observer: Observer) -> None:
    """Every step of a run in order; each fills in its facts."""
    with full_disk_is_a_failure():
        take_copy(request.submission, folder.source)
        check_source(request.submission, folder.source, request.track.budget.source_bytes)
        state.sandbox = levels.choose(request.require_sandbox)
        held = nullcontext() if request.holds_machine else machine.exclusive(request.wait, request.on_wait)
        with held, _workplace(request, folder) as place:
            state.relabelling = relabelling.draw(request.dataset.vocab_size) if request.relabel else None
            state.data = datasets.verify(request.dataset, request.data_root, request.track.data.train_shards)
            try:
                buffers = _train(request, folder, state, observer, place)
                if folder.saved is not None:  # no clock runs now: whoever watches may know that training is over
                    folder.save(with_times(folder.saved, state))
                _check_weights(buffers, state)
                if request.keep_weights:
                    weights.save(buffers, folder.path / layout.WEIGHTS_FILE)
                _score(request, state, buffers, observer, place)
            finally:
                state.log_truncated = place.log.truncated
                if place.referee is not None:
                    place.referee.release()


@dataclass(slots=True)
class _Workplace:
    """The temporary things of one run."""

    temporary: Path
    log: LogFile
    view: View
    inside: Path
    entry: Path
    referee: Referee | None = None


@contextmanager
def _workplace(request: Request, folder: RunFolder) -> Iterator[_Workplace]:
    parent = Path(tempfile.gettempdir())
    scratch.sweep(parent)
    temporary = scratch.make_scratch(parent)
    log = LogFile(folder.path / layout.LOG_FILE, request.track.budget.log_bytes)
    try:
        for name in ("home", "inside", "source", "socket"):
            (temporary / name).mkdir()
        shutil.copy(inside.__file__, temporary / "inside" / "inside.py")
        take_copy(request.submission, temporary / "source")
        threads = max(1, len(machine.cores(request.track)) // request.world_size)
        yield _Workplace(
            temporary=temporary,
            log=log,
            inside=temporary / "inside" / "inside.py",
            entry=temporary / "source" / request.submission.entry,
            view=View(
                readable=(temporary / "inside", temporary / "source"),
                hidden=(request.data_root / request.dataset.name,),
                home=temporary / "home",
                environment={"OMP_NUM_THREADS": str(threads)},
                cuda=request.device == "cuda",
                limits=Limits(memory_bytes=request.track.budget.memory_bytes, processes=request.track.budget.processes),
            ),
        )
    finally:
        log.close()
        remove_tree(temporary)


def _train(
    request: Request, folder: RunFolder, state: RunState, observer: Observer, place: _Workplace
) -> list[WeightBuffer]:
    """PREPARE, GO, TRAIN, STOP."""
    shards = datasets.train_paths(request.dataset, request.data_root, request.track.data.train_shards)
    gate = DataGate(shards, request.data_root, place.temporary, state.relabelling)
    state.data_at_go = gate.method
    curve = Curve(folder.path / layout.PROGRESS_FILE)
    listener = listen(place.temporary / "socket")
    try:
        referee = Referee(_orders(request, state, gate, place), listener, gate, place.log, curve, observer)
        state.times, place.referee = referee.times, referee
        with held_to(machine.cores(request.track)):
            return referee.train()
    finally:
        state.altered_shards = gate.altered(state.data)
        listener.close()
        curve.close()
        gate.close()


@contextmanager
def held_to(cores: set[int]) -> Iterator[None]:
    """What is started inside inherits these cores; the referee itself may use any."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _orders(request: Request, state: RunState, gate: DataGate, place: _Workplace) -> RunOrders:
    track, level = request.track, state.sandbox
    assert level is not None
    view = replace(
        place.view,
        readable=(*place.view.readable, gate.visible, place.temporary / "socket"),
        hidden=(*place.view.hidden, gate.root),
        environment=place.view.environment | {"SPEEDRUN_SOCKET": str(place.temporary / "socket" / "referee")},
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={request.world_size}"]
    torchrun += ["--local-addr=127.0.0.1"]  # all is local: the name of this host is nobody's to resolve
    torchrun += [str(place.inside)]
    document_token = request.dataset.document_token
    if state.relabelling is not None:
        document_token = state.relabelling.token(document_token)
    config: dict[str, Any] = {
        "entry": str(place.entry),
        "seed": request.seed,
        "device": request.device,
        "vocab_size": request.dataset.vocab_size,
        "document_token": document_token,
        "track": {"name": track.name, "dataset": track.data.dataset, "target_val_loss": track.target_val_loss},
        "budget_s": track.budget.train_s,
        "warmup_shards": gate.write_warmup(request.dataset.vocab_size, document_token),
        "practice": request.practice,
    }
    return RunOrders(
        argv=torchrun,
        tree=ProcessTree(level, view),
        config=config,
        world_size=request.world_size,
        prepare_s=track.budget.prepare_s,
        train_s=track.budget.train_s,
        weights_bytes=track.budget.weights_bytes,
        practice=request.practice,
    )


def _check_weights(buffers: list[WeightBuffer], state: RunState) -> None:
    broken = weights.first_not_finite(buffers)
    if broken is not None:
        raise RunFailure(
            Status.WEIGHTS_NOT_FINITE, f"expected finite weights, found an infinity or a NaN in {broken!r}"
        )
    state.weights = Weights(
        sha256=weights.digest(buffers),
        bytes=sum(buffer.size for buffer in buffers),
        tensors=sum(len(buffer.specs) for buffer in buffers),
    )


def _score(
    request: Request, state: RunState, buffers: list[WeightBuffer], observer: Observer, place: _Workplace
) -> None:
    track, referee, level = request.track, place.referee, state.sandbox
    assert referee is not None
    assert level is not None
    settings = EvaluatorSettings(
        level=level,
        view=place.view,
        inside=place.inside,
        entry=place.entry,
        seed=request.seed,
        device=request.device,
        threads=max(1, len(machine.cores(track)) // 2),
    )
    scorer = Scorer(settings, place.log, observer)
    started_ns = clock.now_ns()
    state.score = scorer.score(
        buffers, _score_request(request, state, track.data.val_tokens, track.evaluation.shadow_tokens)
    )
    state.score_ns = clock.now_ns() - started_ns
    for snapshot in referee.snapshots.complete(buffers):
        score_request = _score_request(request, state, min(track.data.val_tokens, PRACTICE_VAL_TOKENS), shadow_tokens=0)
        score = scorer.score(snapshot.parts(), score_request)
        state.curve.append(
            CurvePoint(step=snapshot.step, elapsed_ns=snapshot.elapsed_ns, val_loss=score.val_loss, count=score.count)
        )


def _score_request(request: Request, state: RunState, val_tokens: int, shadow_tokens: int) -> ScoreRequest:
    track = request.track
    return ScoreRequest(
        val_path=datasets.val_path(request.dataset, request.data_root),
        val_sha256=state.data.get(request.dataset.val_file),
        val_tokens=val_tokens,
        vocab_size=request.dataset.vocab_size,
        max_tokens=track.evaluation.max_tokens,
        max_batch_tokens=track.evaluation.max_batch_tokens,
        probe_pairs=track.evaluation.probe_pairs,
        shadow_tokens=shadow_tokens,
        shadow_source="fresh" if request.dataset.kind == "embedded" else "rest",
        relabelling_key=None if state.relabelling is None else state.relabelling.key,
        budget_s=track.budget.score_s,
    )

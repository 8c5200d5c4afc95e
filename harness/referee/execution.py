"""One refereed run from a request to a closed `run.json`, whatever becomes of it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data import datasets
from data.corpus.language import SECRET_BYTES

from ..errors import RunFailure
from ..formats import layout, weights
from ..formats.logfile import Curve, LogFile
from ..formats.observer import Observer
from ..formats.run import CurvePoint, RunRecord, Weights, full_disk_is_a_failure, new_run_id
from ..formats.run_folder import RunFolder, close_abandoned
from ..formats.submission import check_source, take_copy
from ..formats.weights import WeightBuffer
from ..sandbox import belongings, levels, standing_copy
from ..sandbox.levels import Limits, View
from ..sandbox.process_tree import ProcessTree
from ..sandbox.standing_copy import StandingCopies
from ..scoring import charges, preparation, relabelling
from ..scoring.judge_process import JudgeProcess, started_judge
from ..scoring.scorer import EvaluatorSettings, Scorer, ScoreRequest
from ..status import Status
from ..system import clock, processes
from ..system.interrupts import Interrupts
from . import launch, machine, spoken, temporary
from .data_gate import DataGate, Speech
from .recording import record_to_its_end
from .referee import Referee, RunOrders, listen
from .run_state import Request, RunState, closed, first_record, outcome, with_times

PRACTICE_VAL_TOKENS = 2**17  # a snapshot is scored on so many targets at most


def execute(request: Request, observer: Observer) -> tuple[RunRecord, Path]:
    """Run, score, record. Returns the closed record and its folder.

    A run that fails is a record too, with the status that names what happened; only of one that never had the machine
    nothing is kept. Raises UserError or RunFailure only when not even the folder of the run can be made.
    """
    levels.check_level(request.require_sandbox)
    processes.adopt_orphans()
    with Interrupts() as interrupts:
        close_abandoned(request.runs_root)
        folder = RunFolder(request.runs_root, request.run_id or new_run_id(clock.utc_now()))
        first, state = first_record(request, folder.run_id), RunState()
        record = record_to_its_end(
            folder,
            interrupts,
            first,
            lambda: _execute(request, folder, state, observer),
            lambda: outcome(state, request.track.target_val_loss),
            lambda status, sentence: closed(first, state, status, sentence, request.track),
            data_root=request.data_root,
            keep_busy=request.campaign is not None,
        )
    return record, folder.path


def _execute(request: Request, folder: RunFolder, state: RunState, observer: Observer) -> None:
    """Every step of a run in order; each fills in its facts."""
    with full_disk_is_a_failure():
        take_copy(request.submission, folder.source)
        check_source(request.submission, folder.source, request.track.budget.source_bytes)
        level = state.sandbox = levels.choose(request.require_sandbox)
        held = nullcontext() if request.holds_machine else machine.exclusive(request.wait, request.on_wait)
        with (
            held,
            _workplace(request, folder, level) as place,
            started_judge(place.temporary / "home") as place.judge,
            _copies(request, state, observer, place) as place.copies,  # while the judge gets ready
        ):
            state.relabelling = relabelling.draw(request.dataset.vocab_size) if request.relabel else None
            _make_or_verify_data(request, state, observer, place)
            place.judge.wait_until_ready()  # none of its files is read after a rank has started
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
    """The temporary things of one run, and where its data lies."""

    temporary: Path
    tmpdir: Path | None  # of the ranks, where they need a shorter one than their home
    train: list[Path]
    val: Path
    data_root: Path  # the file system of the data
    log: LogFile
    view: View
    inside: Path
    entry: Path
    referee: Referee | None = None
    judge: JudgeProcess | None = None
    copies: StandingCopies = field(default_factory=StandingCopies)


def _make_or_verify_data(request: Request, state: RunState, observer: Observer, place: _Workplace) -> None:
    """The run's data lies ready: on the embedded corpus text in a language of its own, else shards that are right."""
    dataset, track = request.dataset, request.track
    if dataset.kind != "embedded":
        state.data = datasets.verify(dataset, request.data_root, track.data.train_shards)
        return
    secret = request.language or os.urandom(SECRET_BYTES)
    text = spoken.write(secret, dataset, track, place.temporary / "text", observer)
    state.language, state.data, state.text = secret.hex(), text.digests, text.facts
    place.train, place.val, place.data_root = text.train, text.val, place.temporary


@contextmanager
def _workplace(request: Request, folder: RunFolder, level: str) -> Iterator[_Workplace]:
    with temporary.temporary_folders(level) as made:
        log = LogFile(folder.path / layout.LOG_FILE, request.track.budget.log_bytes)
        try:
            for name in ("home", "inside", "source", "socket", "text"):
                (made.path / name).mkdir()
            ranks_part = belongings.put(made.path / "inside")
            take_copy(request.submission, made.path / "source")
            yield _Workplace(
                temporary=made.path,
                tmpdir=made.short,
                train=datasets.train_paths(request.dataset, request.data_root, request.track.data.train_shards),
                val=datasets.val_path(request.dataset, request.data_root),
                data_root=request.data_root,
                log=log,
                inside=ranks_part,
                entry=made.path / "source" / request.submission.entry,
                view=_view(request, made.path),
            )
        finally:
            log.close()


@contextmanager
def _copies(request: Request, state: RunState, observer: Observer, place: _Workplace) -> Iterator[StandingCopies]:
    """Files for each evaluator alone; where they cannot be had, the run says why and goes on with shared ones."""
    if state.sandbox != levels.LEVELS[0]:
        state.evaluator_files = "shared"
        yield StandingCopies()
        return
    with standing_copy.held(place.view, request.runs_root, observer) as copies:
        state.evaluator_files = "copies" if copies.folders else "shared"
        if copies.lacking:
            place.log.write(f"speedrun: both evaluators see the same files: {copies.lacking}\n".encode())
        yield copies


def _view(request: Request, folder: Path) -> View:
    """What ranks and evaluators have in common."""
    track = request.track
    threads = max(1, len(machine.cores(track)) // request.world_size)
    return View(
        python=request.python,
        packages=track.rules.imports,
        readable=(folder / "inside", folder / "source"),
        hidden=(request.data_root / request.dataset.name, folder / "text"),
        home=folder / "home",
        environment={"OMP_NUM_THREADS": str(threads)},
        cuda=request.device == "cuda",
        pinned=track.hardware.cpu_cores is not None,
        limits=Limits(memory_bytes=track.budget.memory_bytes, processes=track.budget.processes),
    )


def _train(
    request: Request, folder: RunFolder, state: RunState, observer: Observer, place: _Workplace
) -> list[WeightBuffer]:
    """PREPARE, GO, TRAIN, STOP."""
    gate = DataGate(place.train, place.data_root, place.temporary, state.relabelling)
    state.data_at_go = gate.method
    curve = Curve(folder.path / layout.PROGRESS_FILE)
    listener = listen(place.temporary / "socket")
    try:
        orders, track = _orders(request, state, gate, place), request.track
        counts = track.budget.prepare_free_cpu_s is not None
        launch_cpu_ns = launch.cpu_ns(orders, track, place.temporary) if counts else None
        referee = Referee(orders, listener, gate, place.log, curve, observer)
        state.times, place.referee = referee.times, referee
        try:
            with machine.held_to(machine.cores(track)):
                buffers = referee.train()
            state.load = referee.load
            return buffers
        finally:
            state.prepare = launch.of_run(referee, track, launch_cpu_ns)
            state.charges += preparation.of_prepare(state.prepare, track.budget)
    finally:
        state.altered_shards = gate.altered(state.data)
        listener.close()
        curve.close()
        gate.close()


def _orders(request: Request, state: RunState, gate: DataGate, place: _Workplace) -> RunOrders:
    track, level = request.track, state.sandbox
    assert level is not None
    view = replace(
        place.view,
        readable=(*place.view.readable, gate.visible, place.temporary / "socket"),
        hidden=(*place.view.hidden, gate.root),
        writable=() if place.tmpdir is None else (place.tmpdir,),  # never of evaluators: they have nothing in common
        environment=place.view.environment
        | {"SPEEDRUN_SOCKET": str(place.temporary / "socket" / "referee")}
        | ({} if place.tmpdir is None else {"TMPDIR": str(place.tmpdir)}),
    )
    torchrun = [
        str(request.python or sys.executable),
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={request.world_size}",
        "--local-addr=127.0.0.1",  # all is local: the name of this host is nobody's to resolve
    ]
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
        "warmup_shards": gate.write_warmup(request.dataset.vocab_size, document_token, _warmup_speech(state)),
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
        gpu_log=place.temporary / "gpus" if request.device == "cuda" else None,
    )


def _warmup_speech(state: RunState) -> Speech | None:
    """Warm-up shards of a run in a language of its own speak a third one: like its text, and nothing of it."""
    if state.language is None:
        return None
    secret, labels = os.urandom(SECRET_BYTES), state.relabelling

    def speak(shards: int, count: int) -> list[npt.NDArray[np.uint16]]:
        texts = spoken.warmup_texts(secret, shards, count)
        return texts if labels is None else [labels.tokens(tokens) for tokens in texts]

    return speak


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
        inside=place.temporary / "inside",
        entry=place.entry,
        seed=request.seed,
        device=request.device,
        threads=len(machine.cores(track)),
        python=request.python,
        copies=place.copies,
    )
    scorer = Scorer(settings, place.log, observer, place.judge)
    started_ns = clock.now_ns()
    train_ns, size = state.train_ns, sum(buffer.size for buffer in buffers)
    score_request = replace(
        _score_request(request, state, place, track.data.val_tokens, track.evaluation.shadow_tokens),
        free_ns=track.evaluation.free_answer_ns(train_ns, size),
    )
    state.score = scorer.score(buffers, score_request, referee.reserved)
    state.score_ns = clock.now_ns() - started_ns
    assert state.score.answers is not None
    state.charges += charges.of_answers(state.score.answers, track.evaluation, train_ns, size)
    for snapshot in referee.snapshots.complete(buffers):
        val_tokens = min(track.data.val_tokens, PRACTICE_VAL_TOKENS)
        score_request = _score_request(request, state, place, val_tokens, shadow_tokens=0)
        score = scorer.score(snapshot.parts(), score_request)
        state.curve.append(
            CurvePoint(step=snapshot.step, elapsed_ns=snapshot.elapsed_ns, val_loss=score.val_loss, count=score.count)
        )


def _score_request(
    request: Request, state: RunState, place: _Workplace, val_tokens: int, shadow_tokens: int
) -> ScoreRequest:
    track = request.track
    return ScoreRequest(
        val_path=place.val,
        val_sha256=state.data.get(request.dataset.val_file),
        val_tokens=val_tokens,
        vocab_size=request.dataset.vocab_size,
        max_tokens=track.evaluation.max_tokens,
        max_batch_tokens=track.evaluation.max_batch_tokens,
        probe_pairs=track.evaluation.probe_pairs,
        leak_standard_errors=track.evaluation.leak_standard_errors,
        shadow_tokens=shadow_tokens,
        shadow_source="fresh" if request.dataset.kind == "embedded" else "rest",
        language=None if state.language is None else bytes.fromhex(state.language),
        relabelling_key=None if state.relabelling is None else state.relabelling.key,
        budget_s=track.budget.score_s,
    )

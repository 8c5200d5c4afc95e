"""Invented campaigns: closed, consistent bundles written by the harness's own writers, without running anything."""

import hashlib
import math
import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal
from unittest import mock

from data import datasets
from harness.campaigns.bundle import file_digests
from harness.campaigns.campaign import Arm, Plan, Slot, fills_slot, make_plan
from harness.campaigns.languages import language_secret, pair_of
from harness.campaigns.ledger import create_ledger, open_ledger
from harness.campaigns.scripts import ArmScript, SelfTimedPlan, gather
from harness.formats import layout
from harness.formats.answers import Answers, AskedAgain, EvaluatorAnswers, LaterAnswers
from harness.formats.environment import Environment, Gpu
from harness.formats.prepare import Prepare
from harness.formats.run import (
    CampaignRef,
    Owner,
    Phases,
    Probes,
    Repeats,
    RunRecord,
    Score,
    Shadow,
    Stamps,
    TextFacts,
    Weights,
    Windows,
    encode_run,
)
from harness.formats.submission import Submission, read_submission
from harness.formats.track import Track, load_track
from harness.referee import spoken
from harness.scoring import charges, preparation
from harness.selftimed.grammars import BY_NAME
from harness.selftimed.observed_log import LineStamper, read_observed_log
from harness.selftimed.record import Observed, SelfTimedRecord, SelfTimedScript, encode
from harness.selftimed.workcopy import find_checkout
from harness.status import Status
from harness.system import clock

TINY = Path(__file__).resolve().parent / "tracks" / "tiny" / "track.toml"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_GAIN = {
    "last_gain": 0.0,
    "last_gain_standard_error": 0.0,
    "state_gain": 0.0,
    "state_gain_standard_error": 0.0,
}
SECRET = bytes(range(32))  # of all invented campaigns' languages
SOURCES: dict[Arm, dict[str, str]] = {
    "candidate": {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"},
    "baseline": {"train_gpt.py": "def train(run): ...\n\n\ndef load(weights, device): ...\n"},
}
H100 = Gpu(
    name="NVIDIA H100 80GB HBM3", uuid="GPU-0", driver="570.1", memory_mib="81559", power_limit_w="700.00",
    max_sm_clock_mhz="1980", ecc="Enabled", pci_bus_id="00000000:18:00.0",
)  # fmt: skip
ENVIRONMENT = Environment(
    python="3.12.3", torch="2.9.0", cuda=None, gpus=(), cpu_model="Invented CPU", cpu_cores=2, memory_bytes=2**34,
    kernel="6.1.0", commit="0" * 40, packages={"numpy": "2.3.0", "torch": "2.9.0"},
)  # fmt: skip
_EVALUATOR = EvaluatorAnswers(rehearsals_ns=(9, 5, 5, 5), first_ns=(6, 4, 4, 4))
QUICK = Answers(
    pairs=((_EVALUATOR, _EVALUATOR),),
    later=(LaterAnswers.of([50, 60, 70]),) * 2,
    again=AskedAgain(pairs=16, max_abs_difference=0.0, mean_abs_difference=0.0, mean_gain=0.0),
)
Change = Callable[[RunRecord, Slot], RunRecord]


def make_bundle(
    folder: Path,
    track: Path = TINY,
    candidate_times: Sequence[float] = (2.0, 2.01, 1.99, 2.02),
    candidate_losses: Sequence[float] = (5.01, 5.02, 5.0, 5.03),
    baseline_times: Sequence[float] | None = None,
    baseline_losses: Sequence[float] | None = None,
    *,
    sources: Mapping[Arm, Mapping[str, str | bytes]] | None = None,
    baseline_record: str | None = None,
    uncounted: Mapping[int, Sequence[Status]] | None = None,
    change: Change = lambda run, _: run,
    sandbox: str = "namespaces",
    world_size: int | None = None,
    environment: Environment | None = None,
    created_at: datetime = START,
    closed: bool = True,
    seed: int = 0,
    relabel: bool = False,
) -> Path:
    """Write a campaign to `folder` (made here) and return it.

    Times in seconds and losses in nats, one per run of an arm; the baseline's make it a comparison. sources: arm ->
    file name -> content. uncounted: slot -> attempts that the machine ended before the counted one. change: may
    exchange a run before it is written, so the chain holds what it says. `seed` moves the windows' losses.
    Everything in it could have happened: on a machine of its own, one run after the other, each line of the ledger
    when it had to be written.
    """
    the_track = load_track(str(track))
    written = {**SOURCES, **(sources or {})}
    folder.mkdir(parents=True)
    (folder / layout.TRACK_FILE).write_bytes(track.read_bytes())
    times = {"candidate": candidate_times, "baseline": baseline_times or ()}
    losses = {"candidate": candidate_losses, "baseline": baseline_losses or candidate_losses}
    device: Literal["cpu", "cuda"] = "cpu" if the_track.hardware.device == "cpu" else "cuda"
    ranks = world_size or the_track.hardware.world_size
    plan = make_plan(
        track=the_track,
        candidate=_write_source(folder / "candidate", written["candidate"]),
        baseline=_write_source(folder / "baseline", written["baseline"]) if baseline_times else None,
        baseline_record=baseline_record,
        runs=len(candidate_times),
        world_size=ranks,
        device=device,
        sandbox=sandbox,
        created_at=created_at,
        relabel=relabel,
    )
    if speaks := datasets.load_dataset(the_track.data.dataset).kind == "embedded":
        plan = plan.model_copy(update={"languages_sha256": hashlib.sha256(SECRET).hexdigest()})
    with mock.patch.object(clock, "utc_now", return_value=created_at):
        create_ledger(folder, plan)
    gpus = tuple(H100.model_copy(update={"uuid": f"GPU-{i}"}) for i in range(ranks)) if device == "cuda" else ()
    world = environment or ENVIRONMENT.model_copy(update={"gpus": gpus, "cuda": "12.8" if gpus else None})
    rng, clock_s, attempts = random.Random(f"{seed} {plan.campaign_id}"), 100.0, 0
    repeats, now = Counter[int](), created_at
    with open_ledger(folder) as (_, writer), mock.patch.object(clock, "utc_now", side_effect=lambda: now):
        for slot in plan.slots:
            number = slot.index if slot.pair is None else slot.pair
            endings = [*(uncounted or {}).get(slot.index, ()), Status.COMPLETE]
            for status in endings:
                run = _a_run(plan, the_track, slot, attempts, clock_s, world)
                if speaks:
                    run = speaking(run, the_track, language_secret(SECRET, slot, repeats[pair_of(slot)]))
                if status == Status.COMPLETE:
                    run = scored(run, the_track, times[slot.arm][number], losses[slot.arm][number], rng)
                else:
                    run = run.model_copy(update={"status": status, "sentence": f"it ended as {status}"})
                run = change(run, slot)
                repeats[pair_of(slot)] += not fills_slot(run.status)
                now = max(now, plan.created_at + timedelta(seconds=math.floor(clock_s)))
                writer.attempt(slot.index, run.run_id)
                now += timedelta(seconds=math.ceil(times[slot.arm][number]) + 13)
                writer.outcome(slot.index, run.run_id, run.status, _write_run(folder, run))
                attempts, clock_s = attempts + 1, clock_s + times[slot.arm][number] + 20
        if closed:
            writer.close(attempts, SECRET.hex() if speaks else None)
    return folder


def make_stated_bundle(
    folder: Path,
    track: Path = TINY,
    candidate_times: Sequence[float] = (4.0, 4.1),
    candidate_losses: Sequence[float] = (5.01, 5.02),
    baseline_times: Sequence[float] = (),
    *,
    created_at: datetime = START,
    closed: bool = True,
    change: Callable[[SelfTimedRecord, Slot], SelfTimedRecord] = lambda run, _: run,
) -> Path:
    """Write a campaign of scripts that time themselves to `folder` (made here) and return it.

    Each log and record is what our own stamper makes of the lines; the baseline has the candidate's losses.
    """
    the_track, files = load_track(str(track)), {"train.py": "print('train')\n", "model/block.py": "LAYERS = 2\n"}
    folder.mkdir(parents=True)
    (folder / layout.TRACK_FILE).write_bytes(track.read_bytes())
    arms = ("candidate", "baseline") if baseline_times else ("candidate",)
    sources = [_stated_source(folder / arm, files) for arm in arms]
    plan = make_plan(
        track=the_track, candidate=sources[0], baseline=sources[1] if baseline_times else None,
        scripts=tuple(
            ArmScript(checkout="theirs", checkout_sha256="1" * 64, launcher="python", environment={"ARM": arm})
            for arm in arms
        ),
        self_timed=SelfTimedPlan(seed_variable="SEED", budget_s=60.0, grammars=tuple(BY_NAME)),
        runs=len(candidate_times), world_size=1, device="cpu", sandbox="namespaces", created_at=created_at,
    )  # fmt: skip
    times = {"candidate": candidate_times, "baseline": baseline_times}
    now = created_at
    with mock.patch.object(clock, "utc_now", side_effect=lambda: now):
        create_ledger(folder, plan)
        with open_ledger(folder) as (_, writer):
            for slot in plan.slots:
                number = slot.index if slot.pair is None else slot.pair
                now = created_at + timedelta(seconds=60 * (slot.index + 1))
                run, log = _stated_run(plan, slot, times[slot.arm][number], candidate_losses[number], now)
                run = change(run, slot)
                place = folder / layout.RECORD_RUNS_DIR / run.run_id
                place.mkdir(parents=True)
                (place / layout.LEGACY_FILE).write_bytes(encode(run))
                (place / layout.LOG_FILE).write_bytes(log)
                writer.attempt(slot.index, run.run_id)
                now += timedelta(seconds=30)
                writer.outcome(slot.index, run.run_id, run.status, file_digests(place, plan))
            if closed:
                writer.close(len(plan.slots))
    return folder


def _stated_source(place: Path, files: Mapping[str, str]) -> Submission:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    return gather(find_checkout(place / "train.py", place))[0]


def _stated_run(
    plan: Plan, slot: Slot, time_s: float, loss: float, started_at: datetime
) -> tuple[SelfTimedRecord, bytes]:
    """A script that prints eight training lines and one validation, each as late as it says and a little more."""
    arm, start_ns = plan.arm(slot.arm), 10**12 * (slot.index + 1)
    assert arm is not None and arm.script is not None
    stamper, log = LineStamper(tuple(BY_NAME.values())), b""
    for step in range(1, 9):
        ms = 1000 * time_s * step / 8
        lines = [f"step:{step}/8 train_loss:{9 - step / 10:.4f} train_time:{ms:.0f}ms step_avg:{ms / step:.2f}ms"]
        if step == 8:
            lines.append(f"step:8/8 val_loss:{loss:.4f} train_time:{ms:.0f}ms step_avg:{ms / step:.2f}ms")
        for late, line in enumerate(lines):
            text = line.encode() + b"\n"
            log += text
            stamper.feed(text, start_ns + 10**9 + round(ms * 1e6) + 10**8 * late + slot.index)
    end_ns = start_ns + 2 * 10**9 + round(time_s * 1e9)
    heard = read_observed_log(stamper, start_ns, end_ns)
    run = SelfTimedRecord(
        run_id=f"{started_at:%Y-%m-%dT%H-%M-%SZ}-{slot.index:06x}", status=Status.COMPLETE, sentence="it ended",
        track=plan.track, campaign=CampaignRef(id=plan.campaign_id, slot=slot.index, arm=slot.arm), seed=slot.seed,
        script=SelfTimedScript(
            entry="train.py", sha256=arm.submission.files["train.py"], checkout="theirs", checkout_sha256="1" * 64,
            launcher="python", world_size=1, environment={**arm.script.environment, "SEED": str(slot.seed)},
        ),
        device="cpu", sandbox="namespaces", started_at=started_at, finished_at=started_at + timedelta(seconds=20),
        owner=Owner(pid=1, start_ticks=1, boot_id="x"), environment=ENVIRONMENT, claim=heard.claim,
        observed=Observed(wall_ns=end_ns - start_ns, peak_memory_bytes=1, cpu_ns=1, busy_cores=1.0),
        points=heard.points, findings=heard.findings,
    )  # fmt: skip
    return run, log


def _write_source(place: Path, files: Mapping[str, str | bytes]) -> Submission:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_submission(place)


def _write_run(folder: Path, run: RunRecord) -> dict[str, str]:
    place = folder / layout.RECORD_RUNS_DIR / run.run_id
    place.mkdir(parents=True)
    (place / layout.RUN_FILE).write_bytes(encode_run(run))
    point = '{"step": 1, "elapsed_ns": 1000, "train_loss": 6.0, "tokens": 10}\n'
    (place / layout.PROGRESS_FILE).write_text(point)
    return file_digests(place)


def _a_run(plan: Plan, track: Track, slot: Slot, number: int, clock_s: float, world: Environment) -> RunRecord:
    """A run that has ended before it began."""
    arm = plan.arm(slot.arm)
    assert arm is not None
    started_at = plan.created_at + timedelta(seconds=math.floor(clock_s))
    machine = hashlib.sha256(plan.campaign_id.encode()).hexdigest()
    return RunRecord(
        run_id=f"{started_at:%Y-%m-%dT%H-%M-%SZ}-{machine[:3]}{number:03x}",
        status=Status.ABANDONED,
        sentence="",
        practice=False,
        track=plan.track,
        submission=arm.submission,
        seed=slot.seed,
        seed_source="harness",
        campaign=CampaignRef(id=plan.campaign_id, slot=slot.index, arm=slot.arm),
        world_size=plan.world_size,
        device=plan.device,
        sandbox=plan.sandbox,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=10),
        owner=Owner(pid=1, start_ticks=1, boot_id=str(uuid.UUID(machine[:32]))),
        data=_shards(track),
        data_at_go="hard links",
        relabelled=plan.relabel,
        relabelling_sha256=hashlib.sha256(f"{plan.campaign_id} {number}".encode()).hexdigest()
        if plan.relabel
        else None,
        environment=world,
    )


def speaking(run: RunRecord, track: Track, secret: bytes) -> RunRecord:
    """The same run, in the language of a secret: its validation text is as `verify` makes it anew."""
    digests, facts = _text(secret.hex(), track)
    return run.model_copy(update={"language": secret.hex(), "text": facts, "data": dict(digests)})


@cache
def _text(secret: str, track: Track) -> tuple[dict[str, str], TextFacts]:
    dataset = datasets.load_dataset(track.data.dataset)
    digests, facts = spoken.made_anew(secret, dataset, track)
    invented = {piece.file: "ab" * 32 for piece in spoken.training_pieces(dataset, track)}
    return invented | digests, facts


def _shards(track: Track) -> dict[str, str]:
    dataset = datasets.load_dataset(track.data.dataset)
    names = [*dataset.train_files()[: track.data.train_shards], dataset.val_file]
    return {name: dataset.sha256.get(name, "ab" * 32) for name in names}


def scored(run: RunRecord, track: Track, time_s: float, loss: float, rng: random.Random) -> RunRecord:
    """The same run, complete: trained for so long, scored to this loss (7 digits)."""
    start_ns = round(run.started_at.timestamp() * 1e9) % 10**15
    go_ns = start_ns + 3 * 10**9
    stop_ns = go_ns + round(time_s * 1e9)
    dead_ns = stop_ns + 10**7
    finished_at = run.started_at + timedelta(seconds=math.ceil(time_s) + 8)
    reached = track.target_val_loss is None or loss <= track.target_val_loss
    charged = charges.of_answers(QUICK, track.evaluation, stop_ns - go_ns, 1000)
    return run.model_copy(
        update={
            "status": Status.COMPLETE,
            "finished_at": finished_at,
            "sentence": f"val_loss {loss:.4f} after {time_s:.3f} s: {'reached' if reached else 'missed'} the target",
            "stamps": Stamps(start_ns=start_ns, go_ns=go_ns, stop_ns=stop_ns, dead_ns=dead_ns),
            "phases": Phases(
                prepare_ns=3 * 10**9, train_ns=stop_ns - go_ns, teardown_ns=10**7, score_ns=2 * 10**9
            ),
            "prepare": prepared(track),
            "weights": Weights(
                sha256=hashlib.sha256(f"{run.run_id}{loss}".encode()).hexdigest(), bytes=1000, tensors=3
            ),
            "score": a_score(track, loss, rng),
            "charges": (*preparation.of_prepare(prepared(track), track.budget), *charged),
        }
    )  # fmt: skip


def prepared(track: Track) -> Prepare | None:
    """A PREPARE that costs nothing, where the track counts it."""
    if track.budget.prepare_free_cpu_s is None:
        return None
    cores = track.hardware.cpu_cores or 1
    return Prepare(cpu_ns=10**9, counted_by="control group", cores=cores, launch_cpu_ns=10**9)


def a_score(track: Track, loss: float, rng: random.Random) -> Score:
    """Windows whose losses scatter and whose sum gives exactly this mean, to 7 digits."""
    count, tokens = track.data.val_tokens, min(track.evaluation.max_tokens, track.data.val_tokens)
    windows = -(-count // tokens)
    per_sum = -(-windows // 512)
    size = tokens * per_sum
    counts = [size] * (count // size) + ([count % size] if count % size else [])
    sums = [loss * n * (1 + rng.uniform(-0.05, 0.05)) for n in counts]
    sums = [part + loss * n - math.fsum(sums) * n / count for part, n in zip(sums, counts, strict=True)]
    loss_sum = math.fsum(sums)
    wanted = track.evaluation.probe_pairs
    pairs = wanted if track.evaluation.leak_standard_errors else min(wanted, windows)
    again = Repeats(pairs=min(-(-wanted // 4), windows), max_abs_difference=1e-6, mean_abs_difference=1e-7)
    return Score(
        val_loss=round(loss_sum / count, 7),
        loss_sum=loss_sum,
        count=count,
        eval_batch=max(1, min(8, track.evaluation.max_batch_tokens // tokens)),
        eval_ns=10**9,
        windows=Windows(tokens=tokens, windows_per_sum=per_sum, loss_sums=sums, counts=counts),
        answers=QUICK,
        probes=Probes(
            pairs=pairs,
            max_abs_difference=1e-6,
            mean_abs_difference=1e-7,
            order=again,
            repeat=again,
            **(NO_GAIN if pairs > 1 and again.pairs else {}),
        ),
        shadow=_a_shadow(track, loss_sum / count, tokens, rng),
    )


def _a_shadow(track: Track, loss: float, tokens: int, rng: random.Random) -> Shadow | None:
    """As much as the track has, a little harder than the scored text; with a spread that no window exceeds."""
    wanted, dataset = track.evaluation.shadow_tokens, datasets.load_dataset(track.data.dataset)
    if dataset.kind != "embedded" and wanted:
        room = ((dataset.val_tokens or 0) - track.data.val_tokens - 2) // tokens
        wanted = min(room, max(1, wanted // tokens)) * tokens if room > 0 else 0
    if not wanted:
        return None
    gap = 0.001
    return Shadow(
        source="fresh" if dataset.kind == "embedded" else "rest",
        seed=rng.getrandbits(53),
        count=wanted,
        val_loss=round(loss + gap, 7),
        gap=gap,
        standard_error=0.05 * loss if -(-wanted // tokens) > 1 else None,
    )

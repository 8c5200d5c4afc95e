"""A forecast: how many runs a claim needs on a track, what they cost, from which spread.

The spread is measured where this checkout has runs enough, else the field's, and the forecast says which. Times are
measured between neighbours in time (von Neumann's successive differences, 1941), as a comparison sees them: slow drift
moves both runs of a pair. A spread from few runs is itself uncertain, so it comes with its own interval.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from ..formats.run import RunRecord, Section
from ..formats.track import Track
from ..selftimed.record import SelfTimedRecord
from ..stats.power import DEFAULT_POWER, LOSS_SD_NATS, TIME_SD, Design, log_saving, paired_times, saved_share
from ..system.clock import NS
from .campaign import CampaignRun

MARGIN_NATS = 0.0015  # upstream keeps its records 0.001 to 0.002 below the target
ENOUGH_DEGREES = 4  # five runs of one submission, or of several a few each
TABLE = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50)

Share = Annotated[float, Field(gt=0, lt=1)]
Group = Sequence[CampaignRun]  # valid runs that are alike: one submission on one kind of machine


class Wishes(Section):
    """What the command line may fix; None: measured or the field's."""

    effect: Share | None = None  # share of the time that the candidate is hoped to save
    power: Share = DEFAULT_POWER
    margin_nats: Annotated[float, Field(gt=0)] | None = None
    loss_sd_nats: Annotated[float, Field(gt=0)] | None = None
    time_sd: Annotated[float, Field(gt=0, lt=1)] | None = None  # relative


class Assumption(Section):
    """A number that the forecast rests on, and where it comes from."""

    value: float
    source: str
    low: float | None = None  # the 95 % interval of a measured spread
    high: float | None = None
    is_bound: bool = False  # not the number itself, but the most it can be


class ClaimForecast(Section):
    """One test, and what it needs."""

    question: str
    test: Literal["t", "z", "welch"]
    alpha: float
    sigma: float | None  # z: what the test assumes
    spread: Assumption  # nats of one run, or relative of one time
    effect: Assumption | None  # nats, or the share of the time saved; None: none was named
    n: int | None  # runs, or pairs; at least the track's min_runs; None: no affordable number, or no effect named
    n_at_high: int | None  # the same if the spread lies at the high end of its interval
    achieved_power: float | None
    device_hours: float | None  # of n, both arms where the test has two


class ForecastRow(Section):
    """What so many runs (or pairs) can show."""

    n: int
    loss_nats: float | None  # smallest distance of the true mean that passes with the wished power
    saving: float | None  # smallest share of the time saved, in n pairs
    device_hours: float  # of n runs, in each arm where the track's test has two
    pairs_device_hours: float  # of n pairs


class Forecast(Section):
    schema_version: Literal[1] = 1
    track: str
    power: float
    devices: int
    device_kind: Literal["GPU", "core"]
    run_s: Assumption  # one run: PREPARE, TRAIN, teardown, SCORE
    loss: ClaimForecast
    time: ClaimForecast | None  # None: time decides nothing on this track
    table: tuple[ForecastRow, ...]


def forecast(track: Track, groups: list[Group], standing: Group, wishes: Wishes) -> Forecast:
    """Runs and cost of a claim on this track.

    groups: what the spread is measured on; standing: runs of the record to beat, empty where there is none.
    """
    run_s = _run_seconds(track, groups, standing)
    is_cpu = track.hardware.device == "cpu"
    devices = track.hardware.cpu_cores if is_cpu and track.hardware.cpu_cores else track.hardware.world_size
    hours = run_s.value * devices / 3600
    loss, loss_design = _loss_claim(track, groups, standing, wishes, hours)
    time, time_design = _time_claim(track, groups, wishes, hours)
    return Forecast(
        track=track.name,
        power=wishes.power,
        devices=devices,
        device_kind="core" if is_cpu else "GPU",
        run_s=run_s,
        loss=loss,
        time=time,
        table=tuple(
            ForecastRow(
                n=n,
                loss_nats=loss_design.detectable(n, wishes.power),
                saving=_saving(time_design.detectable(n, wishes.power)) if time else None,
                device_hours=n * hours * _arms(track),
                pairs_device_hours=2 * n * hours,
            )
            for n in TABLE
        ),
    )


def alike(runs: Iterable[RunRecord]) -> list[Group]:
    """Valid runs, each once, grouped by submission and machine; groups and their runs in order of time."""
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    once = {run.run_id: run for run in runs}
    for run in sorted(once.values(), key=lambda run: run.started_at):
        if run.is_valid and run.result is not None:
            here = run.environment
            gpus = tuple(gpu.name for gpu in here.gpus)
            key = (run.submission.sha256, run.world_size, run.device, here.cpu_model, here.cpu_cores, gpus, run.sandbox)
            groups.setdefault(key, []).append(run)
    return list(groups.values())


def _loss_claim(
    track: Track, groups: list[Group], standing: Group, wishes: Wishes, hours: float
) -> tuple[ClaimForecast, Design]:
    rule = track.significance
    spread = _given(wishes.loss_sd_nats) or _measured(groups, _loss, _variance) or FIELD_LOSS
    effect = _given(wishes.margin_nats) or _margin(track, standing)
    design = Design(test=rule.test, alpha=rule.alpha, sd=spread.value, sigma=rule.sigma if rule.test == "z" else None)
    to = "the standing record's" if track.target_val_loss is None else f"the target {track.target_val_loss:g}"
    cost = hours * _arms(track)
    return _claim(
        f"Is the mean val_loss below {to}?", track, design, spread, effect, effect.value, wishes, cost
    ), design


def _time_claim(track: Track, groups: list[Group], wishes: Wishes, hours: float) -> tuple[ClaimForecast | None, Design]:
    spread = _given(wishes.time_sd) or _measured(groups, _log_time, _successive_variance) or FIELD_TIME
    design = paired_times(spread.value, track.rules.faster_alpha)
    if track.metric != "train_time":
        return None, design
    question = "Is the candidate faster than the standing record, in pairs on one machine?"
    log = None if wishes.effect is None else log_saving(wishes.effect)
    return _claim(question, track, design, spread, _given(wishes.effect), log, wishes, 2 * hours), design


def _claim(
    question: str,
    track: Track,
    design: Design,
    spread: Assumption,
    effect: Assumption | None,
    distance: float | None,
    wishes: Wishes,
    cost: float,
) -> ClaimForecast:
    """distance: the effect in the units of the design's spread; cost: device-hours of one n."""

    def runs(design: Design) -> int | None:
        n = None if distance is None else design.runs(distance, wishes.power)
        return None if n is None else max(n, track.rules.min_runs)

    n = runs(design)
    wider = None if spread.high is None else replace(design, sd=design.sd * spread.high / spread.value)
    return ClaimForecast(
        question=question,
        test=design.test,
        alpha=design.alpha,
        sigma=design.sigma,
        spread=spread,
        effect=effect,
        n=n,
        n_at_high=None if wider is None else runs(wider),
        achieved_power=None if n is None or distance is None else design.power(n, distance),
        device_hours=None if n is None else n * cost,
    )


def _saving(log: float | None) -> float | None:
    return None if log is None else saved_share(log)


def _arms(track: Track) -> int:
    """How many arms the track's own test runs: Welch's compares two submissions."""
    return 2 if track.significance.test == "welch" else 1


# --- where numbers come from ---


FIELD_LOSS = Assumption(value=LOSS_SD_NATS, source="the field's: GPT-2 small at 3.28, median of 81 groups of runs")
FIELD_TIME = Assumption(value=TIME_SD, source="the field's: median within one sitting on one node of 8 GPUs")


def _given(value: float | None) -> Assumption | None:
    return None if value is None else Assumption(value=value, source="given on the command line")


def _margin(track: Track, standing: Group) -> Assumption:
    """How far below the target the standing record lies; upstream's habit where there is none."""
    losses = [_loss(run) for run in standing if run.result is not None]
    if losses and track.target_val_loss is not None:
        margin = track.target_val_loss - math.fsum(losses) / len(losses)
        if margin > 0:
            return Assumption(value=margin, source=f"as far as {_whose(standing)}, mean of {_runs(len(losses))}")
    return Assumption(value=MARGIN_NATS, source="what upstream's records keep: 0.001 to 0.002 nats")


def _run_seconds(track: Track, groups: list[Group], standing: Group) -> Assumption:
    """A run of the standing record, or of the newest submission here; else the most that the track's budget allows."""
    runs = standing or (groups[-1] if groups else ())
    if runs:
        whose = _whose(standing) if standing else "the newest submission here"
        mean_s = math.fsum(map(_whole_s, runs)) / len(runs)
        return Assumption(value=mean_s, source=f"{whose}, mean of {_runs(len(runs))}")
    budget = track.budget
    most_s = budget.prepare_s + budget.train_s + budget.score_s
    return Assumption(
        value=most_s, source="the most that the track's budget allows; nothing was measured", is_bound=True
    )


def _whose(standing: Group) -> str:
    return "that campaign" if any(isinstance(run, SelfTimedRecord) for run in standing) else "the standing record"


def _whole_s(run: CampaignRun) -> float:
    """What a run costs, from its first process to its last."""
    if isinstance(run, SelfTimedRecord):
        return 0.0 if run.observed is None else run.observed.wall_ns / NS
    p = run.phases
    return ((p.prepare_ns or 0) + (p.train_ns or 0) + (p.teardown_ns or 0) + (p.score_ns or 0)) / NS


def _measured(
    groups: list[Group],
    value: Callable[[CampaignRun], float],
    variance: Callable[[list[float]], float],
) -> Assumption | None:
    """The sd pooled over the groups; None without runs enough, or where nothing varies."""
    samples = [[value(run) for run in group] for group in groups if len(group) > 1]
    degrees = sum(len(sample) - 1 for sample in samples)
    if degrees < ENOUGH_DEGREES:
        return None
    pooled = sum(variance(sample) * (len(sample) - 1) for sample in samples) / degrees
    if pooled <= 0:
        return None
    low, high = _sd_interval(degrees)
    sd, count = math.sqrt(pooled), sum(map(len, samples))
    submissions = f"{len(samples)} submissions" if len(samples) > 1 else "one submission"
    stated = any(isinstance(run, SelfTimedRecord) for group in groups for run in group)
    where = "as the scripts of that campaign state them" if stated else "in records/ and local runs"
    source = f"measured: {_runs(count)} of {submissions} {where}"
    return Assumption(value=sd, source=source, low=sd * low, high=sd * high)


def _sd_interval(degrees: int) -> tuple[float, float]:
    """The factors of a measured sd between which the true one lies, with 95 % confidence."""
    from scipy import special

    low, high = (math.sqrt(degrees / float(special.chdtri(degrees, tail))) for tail in (0.025, 0.975))
    return low, high


def _loss(run: CampaignRun) -> float:
    assert run.result is not None
    return run.result[1]


def _log_time(run: CampaignRun) -> float:
    assert run.result is not None
    return math.log(run.result[0])


def _variance(sample: list[float]) -> float:
    mean = math.fsum(sample) / len(sample)
    return math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1)


def _successive_variance(sample: list[float]) -> float:
    """Half the mean square of the steps from each value to the next: the variance, less slow drift."""
    steps = [b - a for a, b in pairwise(sample)]
    return math.fsum(step**2 for step in steps) / (2 * len(steps))


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"

"""A forecast from runs whose spread is known, and from none at all."""

import math
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from scipy import stats

from harness.campaigns.forecast import FIELD_LOSS, FIELD_TIME, MARGIN_NATS, TABLE, Wishes, alike, forecast
from harness.formats import run
from harness.formats.environment import Environment
from harness.formats.run import RunRecord, owner
from harness.formats.track import Track, load_track
from harness.stats.power import LOSS_SD_NATS, TIME_SD, Design, log_saving, paired_times
from harness.status import Status

DIGEST = "0123456789abcdef" * 4
START = datetime(2026, 1, 2, tzinfo=UTC)
MACHINE = Environment(
    python="", torch=None, cuda=None, gpus=(), cpu_model="a", cpu_cores=2, memory_bytes=1, kernel="", commit=None,
    packages={},
)  # fmt: skip


def a_run(index: int, val_loss: float, train_s: float, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "run_id": f"2026-01-02T03-04-05Z-{index:06x}", "status": Status.COMPLETE, "sentence": "", "practice": False,
        "track": run.TrackRef(name="t", rules_version="1.0", sha256=DIGEST, dataset="d", target_val_loss=3.28),
        "submission": run.SubmissionRef(entry="a.py", sha256=DIGEST, bytes=1, files={"a.py": DIGEST}),
        "seed": 1, "seed_source": "harness", "world_size": 2, "device": "cpu", "sandbox": "namespaces",
        "started_at": START + timedelta(minutes=index), "owner": owner(), "environment": MACHINE,
        "phases": run.Phases(prepare_ns=10**10, train_ns=round(train_s * 1e9), teardown_ns=10**9, score_ns=4 * 10**9),
        "score": run.Score(
            val_loss=val_loss, loss_sum=val_loss, count=1, eval_batch=1,
            windows=run.Windows(tokens=1, loss_sums=[val_loss], counts=[1]),
            probes=run.Probes(pairs=0, max_abs_difference=0.0, mean_abs_difference=0.0),
        ),
    }  # fmt: skip
    return RunRecord(**(values | changes))


LOSSES = (3.2775, 3.2779, 3.2793, 3.2791, 3.2769)
TIMES_S = (85.0, 85.1, 84.9, 85.0, 85.2)
RUNS = [a_run(i, loss, time_s) for i, (loss, time_s) in enumerate(zip(LOSSES, TIMES_S, strict=True))]


@pytest.fixture
def track() -> Track:
    return load_track("gpt2-small-8xh100")


def test_without_runs_the_field_speaks_and_the_budget_bounds_the_cost(track: Track) -> None:
    result = forecast(track, [], (), Wishes(effect=0.003))
    assert (result.loss.spread, result.loss.effect.value) == (FIELD_LOSS, MARGIN_NATS)  # type: ignore[union-attr]
    assert result.loss.n == Design(test="t", alpha=0.01, sd=LOSS_SD_NATS).runs(MARGIN_NATS) == 13
    assert result.time is not None
    assert (result.time.spread, result.time.n) == (FIELD_TIME, 7)
    assert result.time.alpha == track.rules.faster_alpha
    budget = track.budget
    assert result.run_s.is_bound
    assert result.run_s.value == budget.prepare_s + budget.train_s + budget.score_s
    assert result.time.device_hours == pytest.approx(2 * 7 * result.run_s.value * 8 / 3600)
    assert (result.devices, result.device_kind) == (8, "GPU")
    assert result.loss.n_at_high is None


def test_measured_runs_replace_the_field(track: Track) -> None:
    result = forecast(track, alike(RUNS), RUNS, Wishes(effect=0.003))
    spread = result.loss.spread
    assert spread.value == pytest.approx(statistics.stdev(LOSSES))
    assert spread.source.startswith("measured: 5 runs of one submission")
    low, high = (math.sqrt(4 / stats.chi2.ppf(q, 4)) * spread.value for q in (0.975, 0.025))
    assert (spread.low, spread.high) == (pytest.approx(low), pytest.approx(high))
    assert result.loss.effect is not None
    assert result.loss.effect.value == pytest.approx(3.28 - statistics.fmean(LOSSES))
    assert result.loss.n_at_high is not None and result.loss.n is not None
    assert result.loss.n_at_high > result.loss.n
    assert result.time is not None
    logs = [math.log(t) for t in TIMES_S]
    steps = [(b - a) ** 2 for a, b in pairwise(logs)]
    assert result.time.spread.value == pytest.approx(math.sqrt(sum(steps) / 8))
    assert result.run_s.value == pytest.approx(15 + statistics.fmean(TIMES_S))
    assert not result.run_s.is_bound


def test_without_a_record_the_newest_runs_here_give_the_cost(track: Track) -> None:
    other = run.SubmissionRef(entry="b.py", sha256=DIGEST[::-1], bytes=1, files={"b.py": DIGEST})
    newer = [a_run(10, 3.27, 40.0, submission=other)]
    result = forecast(track, alike([*newer, *RUNS]), (), Wishes())
    assert result.run_s.value == pytest.approx(55.0)
    assert (result.run_s.source, result.run_s.is_bound) == ("the newest submission here, mean of 1 run", False)
    assert result.loss.effect is not None and result.loss.effect.value == MARGIN_NATS  # no record, no habit of its own


def test_slow_drift_is_no_spread_of_pairs(track: Track) -> None:
    """A machine that slows by 1 % from run to run: neighbours differ by 1 %, the first and the last by 9 %."""
    drifting = [a_run(i, loss, 80 * 1.01**i) for i, loss in enumerate(LOSSES * 2)]
    time = forecast(track, alike(drifting), drifting, Wishes()).time
    assert time is not None
    assert time.spread.value == pytest.approx(math.log(1.01) / math.sqrt(2), rel=1e-6)


def test_spreads_are_pooled_within_submissions_never_across(track: Track) -> None:
    other = run.SubmissionRef(entry="b.py", sha256=DIGEST[::-1], bytes=1, files={"b.py": DIGEST})
    slower = [a_run(10 + i, loss + 0.1, 170.0 + i / 10, submission=other) for i, loss in enumerate(LOSSES[:3])]
    spread = forecast(track, alike([*slower, *RUNS]), RUNS, Wishes()).loss.spread
    expected = (4 * statistics.variance(LOSSES) + 2 * statistics.variance(LOSSES[:3])) / 6
    assert spread.value == pytest.approx(math.sqrt(expected))
    assert "8 runs of 2 submissions" in spread.source


def test_alike_takes_each_valid_run_once_and_no_other() -> None:
    machine = MACHINE.model_copy(update={"cpu_model": "b"})
    bad = [
        a_run(20, 3.0, 1.0, practice=True),
        a_run(21, 3.0, 1.0, status=Status.TRAIN_FAILED),
        a_run(22, 3.0, 1.0, score=None),
        a_run(23, 3.0, 1.0, phases=run.Phases()),
    ]
    elsewhere = a_run(24, 3.0, 1.0, environment=machine)
    wider = a_run(25, 3.0, 1.0, world_size=4)
    assert alike([*RUNS[::-1], *bad, *RUNS, wider, elsewhere]) == [RUNS, [elsewhere], [wider]]


@pytest.mark.parametrize("runs", [RUNS[:4], [a_run(i, 3.27, 85.0) for i in range(6)]], ids=["too few", "all equal"])
def test_what_measures_no_spread_leaves_the_field_s(track: Track, runs: list[RunRecord]) -> None:
    result = forecast(track, alike(runs), runs, Wishes())
    assert result.loss.spread == FIELD_LOSS
    assert result.time is not None
    assert result.time.spread == FIELD_TIME


def test_wishes_come_first(track: Track) -> None:
    wishes = Wishes(effect=0.02, power=0.8, margin_nats=0.004, loss_sd_nats=0.002, time_sd=0.034)
    result = forecast(track, alike(RUNS), RUNS, wishes)
    assert result.loss.n == max(track.rules.min_runs, Design(test="t", alpha=0.01, sd=0.002).runs(0.004, 0.8) or 0)
    assert result.time is not None
    assert result.time.n == paired_times(0.034, 0.01).runs(log_saving(0.02), 0.8)
    for claim in (result.loss, result.time):
        assert claim.spread.source == "given on the command line"
        assert claim.achieved_power is not None and claim.achieved_power >= 0.8


def test_never_fewer_than_the_track_asks_for(track: Track) -> None:
    result = forecast(track, [], (), Wishes(effect=0.5, margin_nats=1.0))
    assert result.time is not None
    assert (result.loss.n, result.time.n) == (track.rules.min_runs, track.rules.min_runs)


def test_a_record_above_its_target_is_no_margin(track: Track) -> None:
    above = [a_run(i, 3.29 + i / 1000, 85.0) for i in range(5)]
    effect = forecast(track, alike(above), above, Wishes()).loss.effect
    assert effect is not None and effect.value == MARGIN_NATS


def test_where_time_decides_nothing_no_pairs_are_planned() -> None:
    steps = forecast(load_track("optimizer-steps"), [], (), Wishes(effect=0.01))
    assert (steps.time, steps.loss.test, steps.loss.sigma) == (None, "z", 0.0013)
    assert {row.saving for row in steps.table} == {None}
    fixed = forecast(load_track("gpt2-small-10min"), [], (), Wishes(margin_nats=0.003))
    assert (fixed.time, fixed.loss.test) == (None, "welch")
    assert fixed.loss.n is not None
    assert fixed.loss.device_hours == pytest.approx(2 * fixed.loss.n * fixed.run_s.value / 3600)


def test_the_table_says_what_each_n_can_show(track: Track) -> None:
    table = forecast(track, [], (), Wishes()).table
    assert [row.n for row in table] == list(TABLE)
    for row in table:
        assert row.loss_nats is not None and row.saving is not None
        assert Design(test="t", alpha=0.01, sd=LOSS_SD_NATS).power(row.n, row.loss_nats) == pytest.approx(0.9)
        assert paired_times(TIME_SD, 0.01).power(row.n, log_saving(row.saving)) == pytest.approx(0.9)
        assert row.pairs_device_hours == 2 * row.device_hours

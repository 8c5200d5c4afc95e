"""Standings are derived from records and nothing else."""

import random
from datetime import UTC, date, datetime
from typing import Any

import pytest

from harness import run
from harness.environment import Environment, Gpu
from harness.record import Record, Statement
from harness.run import RunRecord, owner
from harness.standings import hardware, standings
from harness.status import Status

DIGEST = "0123456789abcdef" * 4
BROKEN = run.Finding(id="causality", severity="error", sentence="", expected="", found="")
GPU = Gpu(name="H100", uuid="", driver="", memory_mib="", power_limit_w="", max_sm_clock_mhz="", ecc="", pci_bus_id="")


def a_run(train_s: float | None, val_loss: float | None, gpus: tuple[Gpu, ...] = (), **changes: Any) -> RunRecord:
    score = None
    if val_loss is not None:
        score = run.Score(
            val_loss=val_loss, loss_sum=val_loss, count=1, eval_batch=1,
            windows=run.Windows(tokens=1, loss_sums=[val_loss], counts=[1]),
            probes=run.Probes(pairs=0, max_abs_difference=0.0, mean_abs_difference=0.0),
        )  # fmt: skip
    values = {
        "run_id": "2026-01-02T03-04-05Z-abcdef", "status": Status.COMPLETE, "sentence": "", "practice": False,
        "track": run.TrackRef(name="t", rules_version="1.0", sha256=DIGEST, dataset="d", target_val_loss=3.0),
        "submission": run.SubmissionRef(entry="a.py", sha256=DIGEST, bytes=1, files={"a.py": DIGEST}),
        "seed": 1, "seed_source": "harness", "world_size": 8, "device": "cuda" if gpus else "cpu",
        "sandbox": "namespaces", "started_at": datetime(2026, 1, 2, tzinfo=UTC), "owner": owner(), "score": score,
        "phases": run.Phases(train_ns=None if train_s is None else round(train_s * 1e9)),
        "environment": Environment(
            python="", torch=None, cuda=None, gpus=gpus, cpu_model="", cpu_cores=2, memory_bytes=1, kernel="",
            commit=None, packages={},
        ),
    }  # fmt: skip
    return RunRecord(**(values | changes))


def a_record(name: str, *runs: RunRecord) -> Record:
    statement = Statement(schema_version=1, track="t", title=name, authors=("A",), date=date(2026, 1, 1))
    return Record(name=name, statement=statement, runs=runs)


def test_times_are_means_and_savings_compare_with_the_record_before() -> None:
    rows = standings(
        [
            a_record("first", a_run(100, 2.9), a_run(110, 3.0)),
            a_record("second", a_run(84, 2.8)),
            a_record("third", a_run(42, 2.9)),
        ],
        [],
    )
    assert [row.place for row in rows] == [1, 2, 3]
    assert [row.train_time_s for row in rows] == pytest.approx([105, 84, 42])
    assert [row.saving for row in rows] == [None, pytest.approx(0.2), pytest.approx(0.5)]
    assert rows[0].val_loss == pytest.approx(2.95)
    assert rows[0].train_time_sd_s == pytest.approx(50**0.5)
    assert rows[1].train_time_sd_s is None
    assert all(row.reached_target for row in rows)
    assert {row.tier for row in rows} == {"refereed"}


def test_runs_that_are_not_valid_count_for_nothing_but_are_told() -> None:
    record = a_record(
        "mixed",
        a_run(100, 2.9),
        a_run(1, 0.1, findings=(BROKEN,)),
        a_run(None, None, status=Status.TRAIN_FAILED),
        a_run(2, 0.2, practice=True),
    )
    (row,) = standings([record], [])
    assert (row.train_time_s, row.val_loss, row.runs) == (100, 2.9, 4)
    assert row.status == "3 runs not valid"


def test_a_record_without_a_valid_run_has_no_numbers() -> None:
    rows = standings([a_record("none", a_run(1, 9, findings=(BROKEN,))), a_record("next", a_run(5, 2))], [])
    assert (rows[0].train_time_s, rows[0].val_loss, rows[0].reached_target) == (None, None, False)
    assert rows[1].saving is None


def test_a_missed_target_is_told() -> None:
    (row,) = standings([a_record("slow", a_run(1, 2.9), a_run(1, 3.1))], [])
    assert row.reached_target is False


def test_local_runs_stand_below_without_a_place() -> None:
    local = [
        a_run(7, 2.5, run_id="one"),
        a_run(7, 2.5, findings=(BROKEN,), run_id="two"),
        a_run(9, None, status=Status.SCORE_TIMEOUT, run_id="three"),
        a_run(None, None, status=Status.ABANDONED, sandbox=None, run_id="four"),
        a_run(7, 2.5, practice=True, run_id="five"),
    ]
    rows = standings([a_record("first", a_run(100, 2.9))], local)
    assert [row.name for row in rows] == ["first", "one", "two", "three", "four", "five"]
    assert [row.status for row in rows[1:]] == ["complete", "broke causality", "score_timeout", "abandoned", "complete"]
    assert {row.place for row in rows[1:]} == {None}
    assert {row.tier for row in rows[1:]} == {"local"}
    assert rows[3].train_time_s is None  # a time without a score is no result
    assert rows[4].sandbox == "none"
    assert "practice" in rows[5].title


def test_hardware_and_sandbox_tell_mixtures() -> None:
    other = GPU.model_copy(update={"name": "H200"})
    assert hardware(a_run(1, 1)) == "2x CPU core"
    assert hardware(a_run(1, 1, gpus=(GPU,) * 8)) == "8x H100"
    assert hardware(a_run(1, 1, gpus=(GPU, other))) == "8x H100 / H200"
    (row,) = standings([a_record("r", a_run(1, 1), a_run(1, 1, sandbox="process"))], [])
    assert row.sandbox == "mixed"


def test_pure() -> None:
    """The same rows whatever happened before, and the input untouched."""
    rng = random.Random(0)
    records = [a_record(str(i), *(a_run(rng.uniform(1, 9), rng.uniform(2, 4)) for _ in range(3))) for i in range(5)]
    kept = list(records)
    assert standings(records, []) == standings(records, [])
    assert records == kept
    assert standings([], []) == []

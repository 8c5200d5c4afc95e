"""Standings are derived from records and nothing else."""

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaigns.bundle import Bundle
from harness.campaigns.campaign import Arm, ArmPlan, Plan, PlannedTest, draw_slots
from harness.campaigns.evidence import ArmEvidence, Evidence
from harness.formats import run
from harness.formats.environment import Environment, Gpu
from harness.formats.run import RunRecord, owner
from harness.records.challenge import Challenge, ChallengeStatement
from harness.records.record import Record, Statement
from harness.records.signing import Signature
from harness.records.standings import hardware, newest_standing, standings
from harness.stats.comparison import Comparison, Span
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


def a_record(name: str, *runs: RunRecord, **more: Any) -> Record:
    statement = Statement(
        name=f"2026-01-01_{name.title().replace(' ', '')}", track="t", title=name, authors=("A",), date=date(2026, 1, 1)
    )
    alone = Evidence(candidate=an_arm("candidate"), baseline=None, comparison=None, attempts=len(runs), uncounted=0)
    told = {"bundle": a_bundle(runs[0], candidate=None), "evidence": alone} | more
    return Record(name=name, statement=statement, runs=runs, **told)


def an_arm(arm: Arm, *times_s: float) -> ArmEvidence:
    mean_s = sum(times_s) / len(times_s) if times_s else None
    span = Span(estimate=mean_s, low=mean_s - 1, high=mean_s + 1) if mean_s is not None else None
    return ArmEvidence(
        arm=arm, n=len(times_s), failed=0, losses=(2.9,) * len(times_s), times_s=times_s, mean_loss=2.9, sd_loss=0.1,
        mean_time_s=mean_s, sd_time_s=0.1, time_interval_s=span, p_value=0.001 if times_s else None, valid=True,
    )  # fmt: skip


def a_bundle(run: RunRecord, **records: str | None) -> Bundle:
    """A campaign that planned runs like this one: arm -> the record it is."""
    arms = tuple(ArmPlan(arm=cast(Arm, arm), submission=run.submission, record=name) for arm, name in records.items())
    plan = Plan(
        campaign_id="2026-01-02T03-04-05Z-c000000", purpose="compare" if len(arms) > 1 else "runs", track=run.track,
        arms=arms, world_size=8, test=PlannedTest(name="t", alpha=0.01), slots=draw_slots((1, 2), len(arms)),
        device="cpu", sandbox="namespaces", created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    return Bundle(Path("nowhere"), plan, (), True, ())


def a_race(name: str, against: str, time_s: float, baseline_s: float, **changes: Any) -> Record:
    """A record that was raced against another one on one machine; the ratio of the means is not that of the pairs."""
    ratio = time_s / baseline_s
    comparison = Comparison(
        pairs=4, dropped=0, ratio=1.01 * ratio, saving=Span(estimate=1 - ratio, low=0, high=1), p_faster=0.001,
        p_slower=0.999, alpha=0.01, verdict="faster", more_pairs=None, loss_difference=None, equal_loss=False,
        equal_loss_margin_nats=0.002,
    )  # fmt: skip
    evidence = Evidence(
        candidate=an_arm("candidate", time_s), baseline=an_arm("baseline", baseline_s), comparison=comparison,
        attempts=8, uncounted=0,
    )  # fmt: skip
    run = a_run(time_s, 2.9, **changes)
    return a_record(name, run, bundle=a_bundle(run, candidate=None, baseline=against), evidence=evidence)


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


def test_a_race_decides_what_was_saved_not_two_sittings() -> None:
    """Two days apart the same machine is 5 % slower: the saving is that of the race."""
    (_, row) = standings([a_record("first", a_run(100, 2.9)), a_race("second", "first", 94.5, 105.0)], [])
    assert row.saving == pytest.approx(0.1)
    assert (row.ratio, row.baseline) == (pytest.approx(0.9), "first")
    assert (row.placed_by, row.board_time_s, row.train_time_s) == ("time", 94.5, 94.5)
    assert (row.train_time_low_s, row.train_time_high_s, row.p_value) == (93.5, 95.5, 0.001)


def test_another_machine_is_placed_by_its_ratio_and_says_so() -> None:
    records = [
        a_record("first", a_run(100, 2.9)),
        a_race("elsewhere", "first", 45.0, 50.0, gpus=(GPU,) * 8),
        a_race("there again", "elsewhere", 36.0, 45.0, gpus=(GPU,) * 8),
        a_record("not raced", a_run(10, 2.9)),
    ]
    rows = standings(records, [])
    assert [row.place for row in rows] == [1, 2, 3, 4]  # acceptance is the order, whatever the times are
    assert [row.placed_by for row in rows] == ["time", "ratio", "time", "ratio"]
    assert rows[1].board_time_s == pytest.approx(90)
    assert rows[2].saving == pytest.approx(0.2)
    assert rows[2].board_time_s == pytest.approx(72)
    assert (rows[3].saving, rows[3].board_time_s) == (None, None)  # nothing to place it by


def test_cpus_of_other_models_are_other_machines() -> None:
    other = a_run(50, 2.9).environment.model_copy(update={"cpu_model": "another"})
    rows = standings([a_record("first", a_run(100, 2.9)), a_record("second", a_run(50, 2.9, environment=other))], [])
    assert (rows[1].placed_by, rows[1].saving) == ("ratio", None)


def a_challenge(kind: str, signature: Signature, **more: Any) -> Challenge:
    statement = ChallengeStatement.model_validate_json(
        json.dumps({"track": "t", "record": "r", "author": "B", "date": "2026-01-02", "kind": kind, "sentence": "s"})
    )
    return Challenge(
        **{
            "name": "c",
            "statement": statement,
            "signature": signature,
            "evidence": None,
            "findings": (),
            "on_unknown_text": True,
            **more,
        }
    )


def test_the_tier_needs_an_intact_reproduction_by_another_allowed_signer() -> None:
    ada = Signature(status="good", key="SHA256:a", principal="ada")
    bob = Signature(status="good", key="SHA256:b", principal="bob")
    unknown = Signature(status="unknown_key", key="SHA256:c")

    def tier(own: Signature | None, *challenges: Challenge) -> str:
        (row,) = standings([a_record("r", a_run(1, 1), signature=own, challenges=challenges)], [])
        return row.tier

    assert tier(ada, a_challenge("reproduction", bob)) == "reproduced"
    assert tier(ada, a_challenge("refutation", bob), a_challenge("reproduction", bob)) == "reproduced"
    for own, challenge in (
        (ada, a_challenge("reproduction", ada)),
        (ada, a_challenge("reproduction", Signature(status="good", key="SHA256:a2", principal="ada"))),
        (ada, a_challenge("reproduction", unknown)),
        (ada, a_challenge("reproduction", Signature(status="unsigned"))),
        (ada, a_challenge("refutation", bob)),
        (ada, a_challenge("reproduction", bob, on_unknown_text=False)),  # it may know the text by heart
        (ada, a_challenge("reproduction", bob, findings=(BROKEN,))),
        (ada, a_challenge("reproduction", bob, statement=None)),
        (None, a_challenge("reproduction", bob)),
        (unknown, a_challenge("reproduction", bob)),
    ):
        assert tier(own, challenge) == "refereed"


def test_refutations_are_counted_where_they_are_intact() -> None:
    unsigned = Signature(status="unsigned")
    challenges = (
        a_challenge("refutation", unsigned),
        a_challenge("reproduction", unsigned),
        a_challenge("refutation", unsigned, findings=(BROKEN,)),
    )
    (row,) = standings([a_record("r", a_run(1, 1), challenges=challenges)], [])
    assert (row.challenges, row.refutations) == (2, 1)


def under(version: str, name: str, time_s: float, against: str | None = None) -> Record:
    track = run.TrackRef(name="t", rules_version=version, sha256=DIGEST, dataset="d", target_val_loss=3.0)
    if against is not None:
        return a_race(name, against, time_s, 2 * time_s, track=track)
    return a_record(name, a_run(time_s, 2.9, track=track))


@given(st.lists(st.sampled_from(["1.0", "1.1", "2.0", "2.3", "10.0"]), min_size=1, max_size=12), st.randoms())
def test_every_major_version_has_a_standing_of_its_own(versions: list[str], rng: random.Random) -> None:
    """Mixed in any order: each begins at 1 without a saving, and says of its rows just what it would say alone."""
    records = [under(version, f"r{i}", rng.uniform(1, 1000)) for i, version in enumerate(versions)]
    rng.shuffle(records)
    majors = [int(record.rules_version.partition(".")[0]) for record in records]
    rows = standings(records, [])
    newest = max(majors)
    assert [row.older_rules for row in rows] == [major < newest for major in sorted(majors)]
    for major in set(majors):
        own = [record for record, its in zip(records, majors, strict=True) if its == major]
        alone = [replace(row, older_rules=major < newest) for row in standings(own, [])]
        assert [row for row in rows if row.rules_version and int(row.rules_version.partition(".")[0]) == major] == alone
        assert (alone[0].place, alone[0].saving, alone[0].board_time_s) == (1, None, alone[0].train_time_s)
        assert {row.mark for row in alone} == {"" if major == newest else f"rules {major}"}
    assert newest_standing(rows) == [row for row in rows if not row.older_rules]
    assert all(row.older_rules for row in standings(records, [], major=99))


def test_a_saving_is_never_against_a_record_of_older_rules() -> None:
    """Not even where the campaign says that it was raced against one."""
    old, new = under("1.1", "old", 100), under("2.0", "new", 2, against="old")
    assert [(row.place, row.saving, row.older_rules) for row in standings([old, new], [])] == [
        (1, None, True),
        (1, None, False),
    ]

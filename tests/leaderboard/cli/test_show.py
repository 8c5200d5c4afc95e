"""Show: everything about one record, also where it is broken, imported or hostile."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from harness.formats.answers import EvaluatorAnswers
from harness.formats.run import RunRecord
from harness.formats.track import load_track
from harness.scoring import charges
from harness.status import Status
from leaderboard.cli.show import show

TINY = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
Call = Callable[..., Result]
Make = Callable[..., Path]


def shown(call: Call, name: str, width: int = 200) -> str:
    return call(show, name, width=width).stdout


def as_json(call: Call, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(show, name, "--json").stdout)
    return found


def test_a_record_is_told_whole(two_records: list[Path], call: Call) -> None:
    text = shown(call, "faster")
    for part in (
        "Grace, Ada, 2026-01-03", "builds on           2026-01-03_AFirstOne", "muon", "standing            number 2",
        "time                1.505 ± 0.", "saved               +24.9 %",
        "Faster? Yes", "At equal loss?", "candidate 4 runs", "it holds",
        "Invented CPU", "train_gpt.py | +1 -0", "changed since 2026-01-03_AFirstOne", "speedrun verify ",
        "speedrun reproduce tiny/2026-01-03_AFasterOne",
    ):  # fmt: skip
        assert part in text, part
    assert text.count(" baseline ") >= 4  # every run of both arms


def test_json_holds_the_same_in_numbers(two_records: list[Path], call: Call) -> None:
    found = as_json(call, "faster")
    assert found["holds"] is True
    assert found["standing"]["place"] == 2
    assert found["evidence"]["candidate"]["n"] == 4
    assert [run["arm"] for run in found["runs"]].count("baseline") == 4
    assert all(run["counted"] for run in found["runs"])
    assert found["differences"] == [
        {"parent": two_records[0].name, "files": [{"file": "train_gpt.py", "added": 1, "removed": 0}]}
    ]
    assert found["environment"]["torch"] == "2.9.0"


def test_attempts_that_do_not_count_are_shown(tmp_path: Path, make_bundle: Make, make_record: Make, call: Call) -> None:
    make_record(make_bundle(tmp_path / "bundle", uncounted={1: [Status.INTERRUPTED]}), "With a break")
    assert "interrupted, does not count" in shown(call, "break")
    assert [run["counted"] for run in as_json(call, "break")["runs"]] == [True, False, True, True, True]


def test_what_was_charged_for_answers_is_told_where_the_time_is(
    tmp_path: Path, make_bundle: Make, make_record: Make, call: Call
) -> None:
    """It is in the time, and the advice that mends it stands below."""

    def slow(run: RunRecord, _: object) -> RunRecord:
        assert run.score is not None
        assert run.score.answers is not None
        evaluator = EvaluatorAnswers(rehearsals_ns=(50 * 10**6, 46 * 10**6), first_ns=(142 * 10**6, 10**6))
        answers = run.score.answers.model_copy(update={"pairs": ((evaluator, evaluator),)})
        assert run.phases.train_ns is not None
        charged = charges.of_answers(answers, load_track(str(TINY)).evaluation, run.phases.train_ns, 1000)
        score = run.score.model_copy(update={"answers": answers})
        return run.model_copy(update={"score": score, "charges": charged})

    make_record(make_bundle(tmp_path / "bundle", candidate_times=(2.0, 2.1, 1.9, 2.0), change=slow), "Slow to answer")
    text, found = shown(call, "slow"), as_json(call, "slow")
    sentence = (
        "first answer 142 ms after the weights arrived; 92 ms above the track's slack of 50 ms were added to the time"
    )
    assert text.count(sentence) == 4
    assert "the same path took 46 ms in rehearsal: keep what `load` builds at module level" in text
    assert found["holds"] is True
    assert [round(run["time_s"], 3) for run in found["runs"]] == [2.092, 2.192, 1.992, 2.092]


@pytest.mark.parametrize("damage", ["record.json", "ledger.jsonl", "manifest.json", "train_gpt.py", "verdict.json"])
def test_a_broken_record_is_shown_with_what_is_wrong(two_records: list[Path], call: Call, damage: str) -> None:
    (two_records[1] / damage).write_text("{}")
    text = shown(call, "faster")
    assert "it does not hold" in text
    assert "error" in text
    assert as_json(call, "faster")["holds"] is False


def test_hostile_words_cannot_move_the_cursor(two_records: list[Path], call: Call) -> None:
    hostile = "\\u001b[2J\\u202eevil"
    path = two_records[1] / "record.json"
    path.write_text(path.read_text().replace("A faster one", hostile))
    for width in (80, 200):
        text = shown(call, "faster", width)
        assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in text)


def test_an_imported_record_shows_claim_logs_and_flags(call: Call) -> None:
    text = shown(call, "gpt2-small-8xh100/88")
    for part in (
        "74.58 s", "mean of 10 runs", "p                   0.0054", "/pull/337",
        "time-differs: its logs take", "reported:",
        "NVIDIA H100", "speedrun reproduce gpt2-small-8xh100/88 --dry-run",
    ):  # fmt: skip
        assert part in text, part
    found = as_json(call, "gpt2-small-8xh100/88")
    assert found["kind"] == "imported"
    assert len(found["runs"]) == found["audit"]["runs"] == 10
    assert all(run["path"].startswith("records/") for run in found["runs"])


def test_an_imported_record_without_logs_says_so(call: Call) -> None:
    assert "none in its repository" in shown(call, "gpt2-small-8xh100/86")

"""The benchmark of first answers: whole exams of one training, and what is said of them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.first_answer import rescore, summary
from harness.formats.track import load_track
from harness.referee import execution
from harness.scoring import charges

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"


def test_what_was_charged_is_summed_up(bundles: Any) -> None:
    track = load_track(str(TINY))
    score = bundles.a_score(track, 5.0, bundles.random.Random(1))
    slow = score.answers.pairs[0][0].model_copy(update={"first_ns": (90_000_000, 5)})
    slower = score.model_copy(update={"answers": score.answers.model_copy(update={"pairs": ((slow, slow),)})})
    found = summary([
        (one, charges.of_answers(one.answers, track.evaluation, 10**9, 0)) for one in (score, score, slower)
    ])  # fmt: skip
    assert (found["exams"], found["charged"], found["asked for a fresh pair"]) == (3, 1, 0)
    charged = found["times"]["charged for the first answer"]
    assert (charged["n"], charged["median_ms"], charged["max_ms"]) == (3, 0, 40)


@pytest.mark.slow
def test_one_training_is_scored_many_times(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_DATA", str(data_root))
    monkeypatch.setattr(execution, "Scorer", execution.Scorer)  # put back afterwards
    scored = rescore(load_track(str(TINY)), ROOT / "tests" / "submissions" / "bigram.py", 2)
    assert len(scored) == 2
    assert scored[0][0].val_loss == scored[1][0].val_loss
    assert all(
        len(evaluator.first_ns) == 4 for score, _ in scored if score.answers for evaluator in score.answers.pairs[0]
    )

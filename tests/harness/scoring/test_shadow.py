"""Shadow text: where it comes from, and that its gap tells those who know the scored text from those who do not."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpus import narration
from data.shards import read_shard
from harness.formats.run import Probes, Score, Shadow, Windows
from harness.formats.track import load_track
from harness.scoring import findings, shadow

ROOT = Path(__file__).resolve().parents[3]


def test_fresh_text_is_text_of_the_corpus_and_never_the_same() -> None:
    first, second = (shadow.draw("fresh", 3000, 64, np.empty(0, np.uint16)) for _ in range(2))
    assert first is not None and second is not None
    assert first.seed != second.seed
    assert not np.array_equal(first.text.stream, second.text.stream)
    assert np.array_equal(first.text.stream, narration.generate(first.seed, 3001))
    assert sum(len(first.text.targets(w)) for w in range(len(first.text))) == 3000


@given(length=st.integers(0, 400), count=st.integers(1, 500), tokens=st.integers(1, 50), seed=st.integers(0, 2**53 - 1))
def test_windows_of_the_rest_do_not_overlap_and_are_whole(length: int, count: int, tokens: int, seed: int) -> None:
    rest = np.arange(1000, 1000 + length, dtype=np.uint16)
    text = shadow.sample(seed, count, tokens, rest)
    room = (length - 1) // tokens
    if room < 1:
        assert text is None
        return
    assert text is not None
    assert len(text) == min(room, max(1, count // tokens))
    targets = np.concatenate([text.targets(w) for w in range(len(text))])
    assert len(set(targets.tolist())) == len(targets) == len(text) * tokens
    assert set(targets.tolist()) <= set(rest[1:].tolist())
    for window in range(len(text)):
        assert (text.inputs(window) + 1 == text.targets(window)).all()
    again = shadow.sample(seed, count, tokens, rest)
    assert again is not None and np.array_equal(again.stream, text.stream)


def test_no_shadow_where_none_is_wanted_or_nothing_is_left() -> None:
    assert shadow.draw("fresh", 0, 64, np.empty(0, np.uint16)) is None
    assert shadow.draw("rest", 100, 64, np.arange(10, dtype=np.uint16)) is None  # tiny Shakespeare: all is scored


def a_score(gap: float, standard_error: float | None = 0.008) -> Score:
    return Score(
        val_loss=1.6, loss_sum=1.6, count=1, eval_batch=1,
        windows=Windows(tokens=1, loss_sums=[1.6], counts=[1]),
        probes=Probes(pairs=0, max_abs_difference=0.0, mean_abs_difference=0.0),
        shadow=Shadow(source="fresh", seed=1, count=65536, val_loss=1.6 + gap, gap=gap, standard_error=standard_error),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "expected"), [(-1.0, []), (0.0, []), (0.06, []), (0.0601, ["shadow_gap"]), (2, ["shadow_gap"])]
)
@pytest.mark.parametrize("standard_error", [None, 1e-9, 0.008, 1e9])
def test_the_rule_is_the_tolerance_whatever_the_spread(
    gap: float, standard_error: float | None, expected: list[str]
) -> None:
    """A submission chooses its own spread; it must not buy room with it."""
    found = findings.findings(a_score(gap, standard_error), load_track("nano-2cpu").evaluation)
    assert [finding.id for finding in found] == expected
    assert all(finding.severity == "error" for finding in found)


def windows_of_records() -> list[tuple[int, np.ndarray]]:
    """Window length and mean loss of every window (or group of windows) of the scored runs in records/nano-2cpu."""
    found = []
    for path in sorted(ROOT.glob("records/nano-2cpu/*/runs/*/run.json")):
        score: dict[str, Any] | None = json.loads(path.read_bytes())["score"]
        if score is not None:
            windows = score["windows"]
            group = windows["tokens"] * windows.get("windows_per_sum", 1)
            found.append((group, np.array(windows["loss_sums"]) / np.array(windows["counts"])))
    return found


def test_the_tolerance_of_nano_is_six_standard_errors_of_its_records() -> None:
    evaluation = load_track("nano-2cpu").evaluation
    records = windows_of_records()
    if not records:
        pytest.fail("expected runs with the loss of every window in records/nano-2cpu")
    for tokens, losses in records:
        unscored = evaluation.shadow_tokens // tokens
        error = losses.std(ddof=1) * math.sqrt(1 / unscored + 1 / len(losses))
        assert error < 0.01
        assert evaluation.shadow_tolerance_nats >= 6 * error
        assert shadow.false_alarm_probability(evaluation.shadow_tolerance_nats, error) < 1e-9


def test_an_honest_model_stays_within_however_the_shadow_falls() -> None:
    """The records' own windows, dealt at random into scored and shadow: 2000 draws, not one false alarm."""
    evaluation, rng = load_track("nano-2cpu").evaluation, np.random.default_rng(0)
    tokens, losses = windows_of_records()[0]
    unscored, gaps, errors = evaluation.shadow_tokens // tokens, [], []
    for _ in range(2000):
        dealt = rng.permutation(losses)
        gaps.append(dealt[:unscored].mean() - dealt[unscored:].mean())
        errors.append(shadow.standard_error(dealt[unscored:], dealt[:unscored]))
    assert max(gaps) < evaluation.shadow_tolerance_nats
    assert np.std(gaps) == pytest.approx(np.mean(errors), rel=0.1)  # what is recorded is what it says


@pytest.mark.parametrize("advantage", [0.03, 0.05, 0.06, 0.07, 0.1])
def test_the_published_escape_is_what_happens(advantage: float) -> None:
    tolerance, rng = 0.06, np.random.default_rng(1)
    scored, unscored = rng.normal(1.6 - advantage, 0.107, (4000, 2048)), rng.normal(1.6, 0.107, (4000, 256))
    gaps = unscored.mean(1) - scored.mean(1)
    error = shadow.standard_error(scored[0], unscored[0])
    assert error is not None
    expected = shadow.escape_probability(advantage, tolerance, 0.107 * math.sqrt(1 / 2048 + 1 / 256))
    assert error == pytest.approx(0.0071, rel=0.15)
    assert np.mean(gaps <= tolerance) == pytest.approx(expected, abs=0.03)


def test_the_mean_gap_of_a_campaign_is_sharper_by_what_its_runs_do_not_share() -> None:
    """Simulated: 3000 campaigns of 5 runs on one scored text each."""
    rng = np.random.default_rng(2)
    scored = rng.normal(1.6, 0.107, (3000, 2048)).mean(1)
    unscored = rng.normal(1.6, 0.107, (3000, 5, 256)).mean(2)
    one, mean = (unscored[:, 0] - scored).std(), (unscored.mean(1) - scored).std()
    assert shadow.campaign_tolerance(0.06, 5, 65_536, 524_288) == pytest.approx(0.06 * mean / one, rel=0.06)
    assert shadow.campaign_tolerance(0.06, 1, 65_536, 524_288) == 0.06


def test_a_standard_error_needs_two_windows_on_both_sides() -> None:
    assert shadow.standard_error(np.array([1.0, 2.0]), np.array([1.0])) is None
    assert shadow.standard_error(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == pytest.approx(1.0)


# through the whole command


BY_HEART = """
from pathlib import Path
import numpy as np
import torch
EVAL_TOKENS, EVAL_BATCH = 128, 16
def train(run):
    text = np.frombuffer(Path(__file__).with_name("text.bin").read_bytes(), "<u2").astype(np.int32)
    weights = {} if run.rank else {"text": torch.from_numpy(text)}
    run.reserve(weights)
    run.go()
    run.stop(weights)
def load(weights, device):
    text = weights["text"].long()
    keys, order = torch.sort((text[:-3] * 325 + text[1:-2]) * 325 + text[2:-1])
    def logits(tokens):
        wanted = (tokens.roll(2, 1) * 325 + tokens.roll(1, 1)) * 325 + tokens
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        known = (keys[place] == wanted).float()[..., None]
        known[:, :2] = 0
        return torch.nn.functional.one_hot(text[order[place] + 3], 325) * 5.0 * known
    return logits
"""


@pytest.mark.slow
def test_knowing_the_validation_text_is_found_and_named(speedrun: Any, tmp_path: Path, write_track: Any) -> None:
    """Its loss is low, that on fresh text is not; and under other labels it knows nothing."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train_gpt.py").write_text(BY_HEART)
    text = np.asarray(read_shard(next((speedrun.data / "tales").glob("*val*.bin"))))[:20_000]
    (tmp_path / "source" / "text.bin").write_bytes(text.tobytes())
    track = write_track(tmp_path, target_val_loss=3.5, dataset='"tales"')
    outcome = speedrun.run(tmp_path / "source", track=track)
    score = outcome.record["score"]
    assert outcome.code == 1
    assert score["val_loss"] < 3.5 < score["shadow"]["val_loss"]
    assert [(f["id"], f["severity"]) for f in outcome.record["findings"]] == [("shadow_gap", "error")]
    assert "shadow_gap" in outcome.stdout
    again = speedrun.run(tmp_path / "source", "--relabel", track=track)
    assert again.record["score"]["val_loss"] > 5
    assert again.record["findings"] == []

"""Probes: what is drawn, what is compared, and how often a cheat escapes."""

import random
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring import probes, windows
from harness.scoring.probes import Answered, Probe
from harness.scoring.windows import Assigner


@given(pairs=st.integers(0, 40), windows=st.integers(1, 60), tokens=st.integers(1, 9), seed=st.integers(0, 99))
def test_as_many_as_asked_and_no_window_again_before_all_were(pairs: int, windows: int, tokens: int, seed: int) -> None:
    drawn = probes.draw(pairs, [tokens] * windows, random.Random(seed))
    kinds = {kind: [p for p in drawn if p.kind == kind] for kind in ("suffix", "order", "repeat")}
    state = min(-(-pairs // 4), windows)
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "suffix": pairs, "order": state, "repeat": state,
    }  # fmt: skip
    for found in kinds.values():
        times = Counter(p.window for p in found)
        assert max(times.values(), default=0) <= -(-len(found) // windows)  # none again before all were drawn
    assert all(1 <= p.upto <= max(1, tokens - 1) for p in kinds["suffix"])
    assert all(p.upto == tokens for p in (*kinds["order"], *kinds["repeat"]))


def test_a_cut_falls_anywhere_but_behind_the_last_target() -> None:
    rng = random.Random(0)
    seen = {p.upto for _ in range(200) for p in probes.draw(1, [5], rng) if p.kind == "suffix"}
    assert seen == {1, 2, 3, 4}


@given(
    size=st.integers(1, 7), count=st.integers(2, 200), tokens=st.integers(2, 9), shadow_count=st.integers(0, 30),
    pairs=st.integers(0, 12), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_deal_asks_everything_once_and_its_copies_where_they_belong(
    size: int, count: int, tokens: int, shadow_count: int, pairs: int, seed: int
) -> None:
    rng = random.Random(seed)
    text = windows.cut(np.random.default_rng(seed).integers(0, 50, count + 1, dtype=np.uint16), tokens)
    shadow = windows.cut(np.arange(100, 101 + shadow_count, dtype=np.uint16), tokens) if shadow_count else None
    drawn = probes.draw(pairs, [len(text.targets(w)) for w in range(len(text))], rng)
    hands = Assigner(text, shadow, drawn, rng).batches(size)
    asked = [(who, q) for who, hand in enumerate(hands) for batch in hand for q in batch]
    assert {len(batch) for hand in hands for batch in hand} <= {size}
    assert {q.inputs.shape for _, q in asked} == {(tokens,)}
    owners = {q.window: who for who, q in asked if q.role == "scored"}
    assert len([1 for _, q in asked if q.role == "scored"]) == len(text) == len(owners)
    assert abs(2 * sum(owners.values()) - len(text)) <= 1
    assert sorted(q.window for _, q in asked if q.role == "shadow") == list(range(len(shadow) if shadow else 0))
    copies = [(who, q) for who, q in asked if q.probe is not None]
    assert sorted(map(repr, drawn)) == sorted(repr(q.probe) for _, q in copies)
    for who, copy in copies:
        assert copy.probe is not None
        assert (who == owners[copy.window]) == (copy.probe.kind == "repeat")
        assert (copy.inputs[: copy.probe.upto] == text.inputs(copy.window)[: copy.probe.upto]).all()
        assert (copy.targets == text.targets(copy.window)).all()
        if copy.probe.kind != "suffix":
            assert (copy.inputs == text.inputs(copy.window)).all()
    assert sum(q.role == "filler" for who, q in asked if who == 0) < size


def test_the_suffix_of_a_copy_is_another_right_behind_the_cut() -> None:
    rng = random.Random(1)
    text = windows.cut(np.random.default_rng(1).integers(0, 50, 401, dtype=np.uint16), 20)
    drawn = [probe for probe in probes.draw(20, [20] * 20, rng) if probe.kind == "suffix"]
    first, second = Assigner(text, None, drawn, rng).batches(4)
    copies = [q for batch in first + second for q in batch if q.probe is not None]
    assert len(copies) == 20
    for copy in copies:
        assert copy.probe is not None
        assert copy.inputs[copy.probe.upto] != text.inputs(copy.window)[copy.probe.upto]


def test_places_tell_nothing() -> None:
    """Of every role, questions lie as early as late: the mean place of each is the middle."""
    rng = random.Random(2)
    text = windows.cut(np.arange(4001, dtype=np.uint16), 10)
    shadow = windows.cut(np.arange(1001, dtype=np.uint16), 10)
    places: dict[str, list[float]] = {}
    for _ in range(20):
        for hand in Assigner(text, shadow, probes.draw(40, [10] * 400, rng), rng).batches(1):
            for place, (question,) in enumerate(hand):
                places.setdefault(question.role, []).append(place / len(hand))
    assert places.keys() == {"scored", "shadow", "probe"}
    for found in places.values():
        assert np.mean(found) == pytest.approx(0.5, abs=5 * 0.29 / len(found) ** 0.5)


def test_the_windows_of_a_stream_hold_every_target_once_and_are_full() -> None:
    text = windows.cut(np.arange(8, dtype=np.uint16), 3)
    assert [text.inputs(w).tolist() for w in range(len(text))] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    assert [text.targets(w).tolist() for w in range(len(text))] == [[1, 2, 3], [4, 5, 6], [7]]


def some(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_a_comparison_by_hand() -> None:
    real = {0: Answered(some(1, 2, 3), 0), 1: Answered(some(1, 1, 1), 2), 2: Answered(some(5, 5, 5), 9)}
    copies = [
        (Probe("suffix", 0, 2), Answered(some(1.5, 2, 9), 5)),  # what lies behind the cut is not compared
        (Probe("suffix", 1, 3), Answered(some(1, 1, 2), 5)),
        (Probe("order", 2, 3), Answered(some(5, 5, 4.25), 7)),  # easier where less had been asked: no learner
        (Probe("repeat", 1, 3), Answered(some(1, 1, 1), 3)),
    ]
    found = probes.compare(real, copies)
    assert found == {
        "pairs": 2, "max_abs_difference": 1.0, "mean_abs_difference": pytest.approx(0.3), "gain": 0.75,
        "gain_standard_error": pytest.approx(0.25),
        "last_gain": 0.5, "last_gain_standard_error": 0.5,
        "state_gain": -0.125, "state_gain_standard_error": 0.125,
        "order": {"pairs": 1, "max_abs_difference": 0.75, "mean_abs_difference": pytest.approx(0.25)},
        "repeat": {"pairs": 1, "max_abs_difference": 0.0, "mean_abs_difference": 0.0},
    }  # fmt: skip


def test_no_probes_find_nothing() -> None:
    found = probes.compare({}, [])
    assert (found["pairs"], found["max_abs_difference"], found["gain"], found["gain_standard_error"]) == (0, 0, 0, None)
    assert probes.leak_nats(found, 2.0) == 0.0


def exam(pairs: int, noise: float, leak: float, share: float, learning: float, seed: int) -> dict[str, Any]:
    """What probes find in answers with noise on every token, a look ahead at some positions and learning while asked.

    noise: sd, nats; leak: gained at a position that looks ahead; share: of the positions; learning: nats per token
    that the last batch is easier than the first.
    """
    rng, random_ = np.random.default_rng(seed), random.Random(seed)
    drawn, batches = probes.draw(pairs, [64] * 512, random_), 100
    base = rng.normal(2, 1, (512, 64))

    def answer(window: int, gains: npt.NDArray[Any]) -> Answered:
        asked = int(rng.integers(batches))
        losses = base[window] + rng.normal(0, noise, 64) - gains - learning * asked / batches
        return Answered(losses.astype(np.float32), asked)

    ahead = {window: leak * (rng.random(64) < share) for window in range(512)}
    real = {probe.window: answer(probe.window, ahead[probe.window]) for probe in drawn}
    copies = []
    for probe in drawn:
        seen = ahead[probe.window].copy()
        if probe.kind == "suffix":
            seen[probe.upto - 1] = 0.0  # what it looks at is another token
        copies.append((probe, answer(probe.window, seen)))
    return probes.compare(real, copies)


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-6])
def test_who_answers_alike_pays_nothing(noise: float) -> None:
    assert [probes.leak_nats(exam(256, noise, 0.0, 0.0, 0.0, seed), 2.0) for seed in range(20)] == [0.0] * 20


@pytest.mark.parametrize(
    ("noise", "leak", "share"),
    [(0.0, 0.05, 0.02), (0.01, 0.02, 1.0), (0.02, 0.05, 0.1), (0.05, 0.1, 0.5), (0.0, 0.04, 1.0)],
)
def test_a_leak_costs_more_than_it_brings(noise: float, leak: float, share: float) -> None:
    """On average over exams, whatever noise it hides in; honest noise costs a fraction of itself."""
    charges = [probes.leak_nats(exam(256, noise, leak, share, 0.0, seed), 2.0) for seed in range(30)]
    worth = leak * share * (1 - 1e-5)
    assert np.mean(charges) > worth
    assert np.mean([charge > worth for charge in charges]) > (0.9 if noise else 0.75)  # unseen in few
    honest = [probes.leak_nats(exam(256, noise, 0.0, 0.0, 0.0, seed), 2.0) for seed in range(30)]
    assert np.mean(honest) <= noise / 3


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_learning_while_asked_costs_more_than_it_brings(noise: float) -> None:
    charges = [probes.leak_nats(exam(256, noise, 0.0, 0.0, 0.02, seed), 2.0) for seed in range(30)]
    assert np.mean([charge > 0.01 for charge in charges]) > 0.95  # half of what the last batch gains


def test_more_pairs_than_windows_are_other_cuts_of_the_same() -> None:
    drawn = [probe for probe in probes.draw(25, [100] * 10, random.Random(1)) if probe.kind == "suffix"]
    counts = Counter(probe.window for probe in drawn)
    assert len(drawn) == 25
    assert set(counts) == set(range(10))
    assert max(counts.values()) == 3


def gains_of(noise: float, leak: float, seed: int) -> tuple[float, float | None]:
    """32 prefixes of 256 tokens on average half as long: arithmetic noise on every token, a leak on the last."""
    rng = np.random.default_rng(seed)
    real, copies = {}, []
    for window in range(32):
        upto = int(rng.integers(1, 257))
        real[window] = Answered(rng.normal(2, 1, 256).astype(np.float32), 0)
        copy = real[window].losses + rng.normal(0, noise, 256).astype(np.float32)
        copy[upto - 1] += leak
        copies.append((Probe("suffix", window, upto), Answered(copy, 0)))
    found = probes.compare(real, copies)
    return found["gain"], found["gain_standard_error"]


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3, 0.01])
def test_arithmetic_is_no_leak(noise: float) -> None:
    """Up to what bf16 and kernels in another order do."""
    assert not any(probes.is_leak(*gains_of(noise, 0.0, seed)) for seed in range(300))


def test_a_leak_below_the_tolerance_adds_up() -> None:
    assert all(probes.is_leak(*gains_of(1e-5, 0.01, seed)) for seed in range(50))


@pytest.mark.parametrize(
    ("share", "pairs", "windows"), [(0.1, 32, 2048), (0.05, 8, 157), (0.5, 3, 40), (0.02, 64, 512)]
)
def test_the_published_escape_is_what_happens(share: float, pairs: int, windows: int) -> None:
    """Simulated with the judge's own draw: the cheat picks its windows, the judge picks the probed ones."""
    rng, cheated, trials = random.Random(0), set(range(round(share * windows))), 4000
    escapes = 0
    for _ in range(trials):
        drawn = probes.draw(pairs, [8] * windows, rng)
        escapes += cheated.isdisjoint(p.window for p in drawn if p.kind == "suffix")
    expected = probes.escape_probability(share, pairs, windows)
    error = (expected * (1 - expected) / trials) ** 0.5
    assert escapes / trials == pytest.approx(expected, abs=5 * error + 1e-3)
    assert expected <= probes.escape_probability(share, pairs) + 0.02  # rounding of the share to whole windows


@pytest.mark.parametrize(("share", "pairs", "expected"), [(0.0, 32, 1.0), (1.0, 1, 0.0), (0.5, 2, 0.25), (0.3, 0, 1.0)])
def test_escapes_by_hand(share: float, pairs: int, expected: float) -> None:
    assert probes.escape_probability(share, pairs) == pytest.approx(expected)
    assert probes.escape_probability(share, pairs, 10**6) == pytest.approx(expected, abs=1e-5)


def test_a_look_ahead_of_one_token_shows_where_the_cut_falls() -> None:
    """The share that counts is that of positions: a leak at a tenth of them is met by a tenth of the cuts."""
    rng, trials = random.Random(3), 4000
    leaky = set(range(0, 100, 10))
    met = sum(
        any(p.upto - 1 in leaky for p in probes.draw(8, [102] * 50, rng) if p.kind == "suffix") for _ in range(trials)
    )
    assert 1 - met / trials == pytest.approx(probes.escape_probability(0.1, 8), abs=0.04)

"""The vectorised Kneser-Ney model against one made of dictionaries, straight from the paper's formulas."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from benchmarks.counting import KneserNey, check_sums

VOCAB_SIZE = 5


class SlowKneserNey:
    def __init__(self, tokens: list[int], order: int) -> None:
        self.order = order
        self.counts: dict[int, Counter[tuple[int, ...]]] = {
            length: Counter(tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1))
            for length in range(1, order + 1)
        }
        for length in range(1, order):
            befores = defaultdict(set)
            for i in range(len(tokens) - length):
                befores[tuple(tokens[i + 1 : i + 1 + length])].add(tokens[i])
            self.counts[length] = Counter({gram: len(before) for gram, before in befores.items()})

    def discount(self, length: int, count: int) -> float:
        if count == 0:
            return 0.0
        n = Counter(self.counts[length].values())
        if not all(n[i] for i in (1, 2, 3, 4)):
            return 0.5
        y, k = n[1] / (n[1] + 2 * n[2]), min(count, 3)
        return min(max(k - (k + 1) * y * n[k + 1] / n[k], 0.0), float(k))

    def probability(self, context: tuple[int, ...], word: int) -> float:
        lower = self.probability(context[1:], word) if context else 1 / VOCAB_SIZE
        length = len(context) + 1
        followers = [self.counts[length][(*context, other)] for other in range(VOCAB_SIZE)]
        total = sum(followers)
        if total == 0:
            return lower
        count = self.counts[length][(*context, word)]
        freed = sum(self.discount(length, follower) for follower in followers)
        return (count - self.discount(length, count) + freed * lower) / total


@pytest.fixture
def texts() -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(5)
    words = np.array([[0, 1, 2], [0, 3, 1], [2, 2, 4], [4, 0, 1]])
    train = words[rng.integers(0, 4, 60)].ravel()
    noise = rng.random(train.size) < 0.2
    train[noise] = rng.integers(0, VOCAB_SIZE, int(noise.sum()))
    return train.tolist(), rng.integers(0, VOCAB_SIZE, 40).tolist()


def test_probabilities_equal_the_slow_model_s(texts: tuple[list[int], list[int]]) -> None:
    train, val = texts
    model = KneserNey(np.array(train), VOCAB_SIZE, 4)
    for order, found in enumerate(model.probabilities(np.array(val), np.array(val)), 1):
        slow = SlowKneserNey(train, order)
        expected = [slow.probability(tuple(val[max(0, i - order + 1) : i]), word) for i, word in enumerate(val)]
        assert found == pytest.approx(expected, abs=1e-12)


def test_probabilities_sum_to_one(texts: tuple[list[int], list[int]]) -> None:
    train, val = texts
    model = KneserNey(np.array(train), VOCAB_SIZE, 8)
    assert check_sums(model, np.array(val)) < 1e-12

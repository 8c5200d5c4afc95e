"""How far counting gets: modified Kneser-Ney models of orders 1 to 8 on a dataset's training and validation split.

    python -m benchmarks.counting --track nano-2cpu

A track's target must lie clearly below what this prints, or a table of n-grams wins the race: with --track the exit
code is 1 unless it lies MARGIN_NATS below. The smoothing is
the interpolated "modified Kneser-Ney" of Chen and Goodman (1999, "An empirical study of smoothing techniques for
language modeling"): three discounts per order, continuation counts below the highest order, and a uniform
distribution under the unigrams. Contexts run across document starts; the training shards are read as one text;
every target of the validation split (all its tokens but the first) is scored once.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.corpus.language import language
from data.datasets import Dataset, data_root, load_dataset, prepare, train_paths, val_path
from data.shards import read_shard
from harness.formats.track import Track, load_track
from harness.referee import spoken

MAX_ORDER = 8
MARGIN_NATS = 0.1
SECRET = bytes(32)  # of the language that is counted where runs speak their own: all are equally hard
_CHECKED_POSITIONS = 50

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Discounting:
    """What one order contributes: p(w | h) = share(hw) + backoff(h) * p(w | shorter h)."""

    share: Floats  # [n-grams], then a 0 for those never seen
    backoff: Floats  # [contexts], then a 1 for those never seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """The n-grams of one length; a key is (index of the first n-1 tokens) * vocab_size + last token."""

    keys: Integers  # sorted; an n-gram's index is its key's place
    top: Discounting  # from plain counts: for the model whose highest order this is
    lower: Discounting  # from continuation counts: for models of higher order

    def find(self, contexts: Integers, tokens: Integers, vocab_size: int) -> Integers:
        """Return the n-grams' indices, -1 where the n-gram, or its context of index -1, was never seen."""
        keys = contexts * vocab_size + tokens
        places = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        return np.where((contexts >= 0) & (self.keys[places] == keys), places, -1)


class KneserNey:
    """Modified Kneser-Ney models of all orders up to `max_order`, which share their lower orders."""

    def __init__(self, tokens: Integers, vocab_size: int, max_order: int = MAX_ORDER) -> None:
        """Count the n-grams of `tokens`, int64 [N] with N > max_order."""
        self.vocab_size = vocab_size
        self.levels: list[Level] = []
        contexts, keys, places = 1, *_index(tokens)
        for length in range(1, max_order + 1):
            longer_keys, longer_places = _index(places[:-1] * vocab_size + tokens[length:])
            counts = np.bincount(places, minlength=keys.size)
            continuations = _continuations(longer_places, places[1:], keys.size)
            parents = keys // vocab_size
            top, lower = (discounting(parents, number, contexts) for number in (counts, continuations))
            self.levels.append(Level(keys=keys, top=top, lower=lower))
            contexts, keys, places = keys.size, longer_keys, longer_places

    def probabilities(self, tokens: Integers, targets: Integers) -> Iterator[Floats]:
        """Yield p(targets[i] | tokens[:i]) for every i, float64 [N], under the models of order 1, 2, ..."""
        contexts = np.zeros(tokens.size, np.int64)  # everything follows the empty context
        lower = np.full(tokens.size, 1 / self.vocab_size)
        for level in self.levels:
            grams = level.find(contexts, targets, self.vocab_size)
            yield level.top.share[grams] + level.top.backoff[contexts] * lower
            lower = level.lower.share[grams] + level.lower.backoff[contexts] * lower
            seen = level.find(contexts, tokens, self.vocab_size)
            contexts = np.concatenate([[-1], seen[:-1]])


def discounting(parents: Integers, counts: Integers, contexts: int) -> Discounting:
    """Smooth n-grams with `counts`, int64 [G], that extend the contexts `parents`, int64 [G]."""
    discounts = np.concatenate([[0.0], _discounts(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(parents, counts, contexts)
    kept = np.bincount(parents, counts - discounts, contexts)
    seen = np.maximum(totals, 1)
    share = (counts - discounts) / seen[parents]
    backoff = np.where(totals > 0, 1 - kept / seen, 1.0)
    return Discounting(share=np.append(share, 0.0), backoff=np.append(backoff, 1.0))


def _discounts(counts: Integers) -> Floats:
    """Return what counts of 1, 2, and 3 or more lose; half of each where the text is too small to tell."""
    ones, twos, threes, fours = (int(number) for number in np.bincount(counts[counts < 5], minlength=5)[1:])
    if not (ones and twos and threes and fours):
        return np.array([0.5, 0.5, 0.5])
    ratio = ones / (ones + 2 * twos)
    exact = [1 - 2 * ratio * twos / ones, 2 - 3 * ratio * threes / twos, 3 - 4 * ratio * fours / threes]
    return np.clip(exact, 0.0, [1.0, 2.0, 3.0])


def _index(keys: Integers) -> tuple[Integers, Integers]:
    unique, places = np.unique(keys, return_inverse=True)
    return unique, places


def _continuations(longer_places: Integers, places: Integers, count: int) -> Integers:
    """Count for each n-gram how many different tokens come before it."""
    followed = np.zeros(int(longer_places.max()) + 1, np.int64)
    followed[longer_places] = places  # every occurrence of a longer n-gram ends in the same n-gram
    return np.bincount(followed, minlength=count)


def check_sums(model: KneserNey, tokens: Integers) -> float:
    """Return how far the probabilities of all words after each of `tokens` are from 1, at most, over all orders."""
    sums = np.zeros((len(model.levels), tokens.size))
    for word in range(model.vocab_size):
        sums += list(model.probabilities(tokens, np.full_like(tokens, word)))
    return float(np.abs(sums - 1).max())


def texts(dataset: Dataset, track: Track | None) -> tuple[Integers, Integers]:
    """Training and validation tokens: the dataset's own, or what a run of the track gets, in a language of its own."""
    if dataset.kind == "embedded" and track is not None:
        tongue = language(SECRET)
        pieces = [*spoken.training_pieces(dataset, track), spoken.validation_piece(dataset, track)]
        *train, val = (tokens.astype(np.int64) for tokens, _ in spoken.tell(pieces, tongue))
        return np.concatenate(train), val
    root = data_root()
    prepare(dataset, root)
    shards = [read_shard(path) for path in train_paths(dataset, root)]
    return np.concatenate(shards).astype(np.int64), read_shard(val_path(dataset, root)).astype(np.int64)


def measure(dataset_name: str, max_order: int, track: Track | None = None) -> dict[str, object]:
    """Fit and score all orders; losses are in nats per token, times in seconds."""
    dataset = load_dataset(dataset_name)
    train, val = texts(dataset, track)
    start = time.perf_counter()
    model = KneserNey(train, dataset.vocab_size, max_order)
    fit_s = time.perf_counter() - start
    losses, score_s = {}, {}
    for order, probabilities in enumerate(model.probabilities(val, val), 1):
        losses[order] = -float(np.log(probabilities[1:]).mean())
        score_s[order] = time.perf_counter() - start - fit_s
    deviation = check_sums(model, val[:_CHECKED_POSITIONS])
    assert deviation < 1e-9, deviation
    report = {"dataset": dataset_name, "train_tokens": train.size, "scored_tokens": val.size - 1, "fit_s": fit_s}
    return report | {"val_loss": losses, "score_s": score_s, "largest_deviation_of_sums": deviation}


def main() -> None:
    """Print the table, or with --json one object."""
    parser = argparse.ArgumentParser(description="Score Kneser-Ney models on a dataset.")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--track", help=f"its dataset; fails unless its target lies {MARGIN_NATS} nats below counting")
    parser.add_argument("--max-order", type=int, default=MAX_ORDER)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    track = load_track(options.track) if options.track else None
    report = measure(track.data.dataset if track else options.dataset, options.max_order, track)
    print(json.dumps(report) if options.json else table(report))
    if track is not None and track.target_val_loss is not None:
        margin = min(report["val_loss"].values()) - track.target_val_loss
        if margin < MARGIN_NATS:
            raise SystemExit(f"expected {track.name}'s target {MARGIN_NATS} nats below counting, found {margin:.4f}")


def table(report: dict[str, Any]) -> str:
    """The losses by order, for a person."""
    fitted = f"all orders fitted in {report['fit_s']:.1f} s"
    lines = [
        f"{report['dataset']}: {report['train_tokens']:,} training tokens, {fitted}",
        "order  nats/token  scored after s",
    ]
    lines += [
        f"{order:5}  {loss:10.4f}  {report['score_s'][order]:14.1f}" for order, loss in report["val_loss"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

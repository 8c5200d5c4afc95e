"""Relations between two numbers of one run's exam: losses, probes, shadow text and what is charged for them.

The docstring of a relation says why it holds; the table is in relations.py.
"""

import math
import re
import statistics
from collections.abc import Iterator
from typing import Protocol

from data.datasets import Dataset

from ..formats.run import Score
from ..formats.track import Track
from ..scoring import probes
from ..scoring.findings import findings
from ..scoring.tally import MAX_SUMS
from ..status import Status
from .run_relations import Contradiction, Examined, the_run

ROUNDED = 2e-7  # nats: the difference of two losses of 7 digits each
ARITHMETIC = 1e-6  # relative: float32 means against their own maximum


class ExamFacts(Protocol):
    """An exam, and what it has to fit. track, dataset: None where they cannot be read; other findings say so."""

    @property
    def run(self) -> Examined: ...
    @property
    def track(self) -> Track | None: ...
    @property
    def dataset(self) -> Dataset | None: ...


def negative_loss(facts: ExamFacts) -> Iterator[Contradiction]:
    """A loss is minus the logarithm of a probability, so no sum of losses is negative."""
    run, score = facts.run, facts.run.score
    if score is None:
        return
    least = min(score.windows.loss_sums, default=0.0)
    parts = {"val_loss": score.val_loss, "loss_sum": score.loss_sum, "a window": least}
    if score.shadow is not None:
        parts["the shadow text"] = score.shadow.val_loss
    for name, loss in parts.items():
        if loss < 0:
            yield f"{the_run(run)} has a negative loss: {name}", "0 nats or more", repr(loss)


def mean_above_maximum(facts: ExamFacts) -> Iterator[Contradiction]:
    """The mean of sizes lies between 0 and their maximum; of no pairs both are 0."""
    run, score = facts.run, facts.run.score
    if score is None:
        return
    found = score.probes
    for name, sizes in (("suffix", found), ("order", found.order), ("repeat", found.repeat)):
        if sizes is None:
            continue
        mean, most = sizes.mean_abs_difference, sizes.max_abs_difference
        if not 0 <= mean <= most * (1 + ARITHMETIC) or (sizes.pairs <= 0 and most != 0) or sizes.pairs < 0:
            sentence = f"{the_run(run)}: the mean of its {name} probes does not fit their maximum"
            yield sentence, f"0 to {most!r} nats in {sizes.pairs} pairs", f"{mean!r}"


def gain_beyond_its_probes(facts: ExamFacts) -> Iterator[Contradiction]:
    """A gain over a prefix is at most its tokens times the largest difference of one; two pairs have an error."""
    run, score = facts.run, facts.run.score
    if score is None or score.probes.gain is None:
        return
    found, error = score.probes, score.probes.gain_standard_error
    most = found.max_abs_difference * score.windows.tokens * (1 + ARITHMETIC)
    if abs(score.probes.gain) > most:
        yield f"{the_run(run)}: its gain is beyond what its probes differ by", f"at most {most!r}", f"{found.gain!r}"
    if (error is None) != (found.pairs < 2) or (error is not None and not 0 <= error <= most * 2):
        yield f"{the_run(run)}: the standard error of its gain does not fit", f"of {found.pairs} pairs", f"{error!r}"


def leak_is_not_charged(facts: ExamFacts) -> Iterator[Contradiction]:
    """What is charged for a leak follows from the gains, which are within what the probes differ by."""
    run, score, track = facts.run, facts.run.score, facts.track
    if score is None or track is None:
        return
    found, errors = score.probes, track.evaluation.leak_standard_errors
    last, state = found.last_gain, found.state_gain
    if errors and (last is None or state is None):
        yield f"{the_run(run)}: its probes tell no gains", "gains of suffix, order and repeat pairs", "none"
        return
    expected = probes.leak_nats(found.model_dump(), errors)
    if score.leak_nats != expected:
        yield (
            f"{the_run(run)}: what it is charged does not follow from its probes",
            f"{expected!r}",
            f"{score.leak_nats!r}",
        )
    repeats = [one for one in (found.order, found.repeat) if one is not None]
    again, state_pairs = (
        max((one.max_abs_difference for one in repeats), default=0.0),
        sum(one.pairs for one in repeats),
    )
    for name, gain, error, most, pairs in (
        ("last", last, found.last_gain_standard_error, found.max_abs_difference, found.pairs),
        ("state", state, found.state_gain_standard_error, again, state_pairs),
    ):
        if gain is not None and abs(gain) > most * (1 + ARITHMETIC):
            yield (
                f"{the_run(run)}: its {name} gain is beyond what its probes differ by",
                f"at most {most!r}",
                f"{gain!r}",
            )
        if gain is not None and ((error is None) != (pairs < 2) or (error is not None and not 0 <= error <= most * 2)):
            yield f"{the_run(run)}: the error of its {name} gain does not fit", f"of {pairs} pairs", f"{error!r}"


def gap_is_no_difference(facts: ExamFacts) -> Iterator[Contradiction]:
    """The shadow gap is the loss of the shadow text minus that of the scored text, to seven digits."""
    run, score = facts.run, facts.run.score
    if score is None or score.shadow is None:
        return
    shadow = score.shadow
    expected = shadow.val_loss - score.loss_sum / max(1, score.count)
    if abs(shadow.gap - expected) > ROUNDED:
        yield (
            f"{the_run(run)}: its shadow gap is not the difference of its losses",
            f"{expected:.7f}",
            f"{shadow.gap!r}",
        )


def gap_error_below_its_windows(facts: ExamFacts) -> Iterator[Contradiction]:
    """The gap's standard error is at least what the scored windows alone give, and is there with two windows a side."""
    run, score = facts.run, facts.run.score
    if score is None or score.shadow is None or len(score.windows.counts) != len(score.windows.loss_sums):
        return
    error, tokens = score.shadow.standard_error, max(1, score.windows.tokens)
    several = min(_windows(score), -(-score.shadow.count // tokens)) >= 2
    if (error is None) == several or (error is not None and error < 0):
        sentence = f"{the_run(run)}: the standard error of its shadow gap does not fit its windows"
        yield sentence, "one, where both sides have two windows", repr(error)
    elif error is not None and score.windows.windows_per_sum == 1 and min(score.windows.counts, default=0) > 0:
        means = [part / count for part, count in zip(score.windows.loss_sums, score.windows.counts, strict=True)]
        least = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else 0.0
        if error < least * (1 - ARITHMETIC):
            sentence = f"{the_run(run)}: its shadow gap is surer than its windows allow"
            yield sentence, f"a standard error of at least {least!r}", repr(error)


def _windows(score: Score) -> int:
    return -(-score.count // max(1, score.windows.tokens))


def windows_are_not_the_tracks(facts: ExamFacts) -> Iterator[Contradiction]:
    """Windows and batches are within the track's limits, and summed in as many groups as the judge makes of them."""
    run, score, track = facts.run, facts.run.score, facts.track
    if score is None:
        return
    tokens, batch = score.windows.tokens, score.eval_batch
    if tokens < 1 or batch < 1:
        yield f"{the_run(run)} had windows or batches of nothing", "1 or more", f"{tokens} tokens, batches of {batch}"
        return
    per_sum = -(-_windows(score) // MAX_SUMS)
    if score.windows.windows_per_sum != per_sum:
        sentence = f"{the_run(run)}: its windows are not summed as the judge sums them"
        yield sentence, f"{per_sum} a sum", f"{score.windows.windows_per_sum}"
    if track is None:
        return
    evaluation = track.evaluation
    if tokens > min(evaluation.max_tokens, track.data.val_tokens):
        yield (
            f"{the_run(run)} had longer windows than the track allows",
            f"at most {evaluation.max_tokens}",
            f"{tokens}",
        )
    if batch > 1 and tokens * batch > evaluation.max_batch_tokens:
        expected = f"at most {evaluation.max_batch_tokens} tokens"
        yield f"{the_run(run)} had larger batches than the track allows", expected, f"{tokens * batch}"


def fewer_probes_than_the_tracks(facts: ExamFacts) -> Iterator[Contradiction]:
    """The judge draws as many suffix probes as the track says, and a quarter as many of order and of repetition."""
    run, score, track = facts.run, facts.run.score, facts.track
    if score is None or track is None:
        return
    wanted, windows, found = track.evaluation.probe_pairs, _windows(score), score.probes
    state = min(-(-wanted // probes.SHARE_OF_STATE_PROBES), windows)
    for name, expected, sizes in (
        ("suffix", wanted if track.evaluation.leak_standard_errors else min(wanted, windows), found),
        ("order", state, found.order),
        ("repeat", state, found.repeat),
    ):
        pairs = 0 if sizes is None else sizes.pairs
        if pairs < expected:
            yield f"{the_run(run)} was asked too few {name} probes", f"{expected} pairs", f"{pairs}"


def shadow_is_not_the_tracks(facts: ExamFacts) -> Iterator[Contradiction]:
    """Where track and dataset have shadow text, every exam has as much of it, of the dataset's kind; elsewhere none."""
    run, score, track, dataset = facts.run, facts.run.score, facts.track, facts.dataset
    if score is None or track is None or dataset is None or (dataset.kind != "embedded" and dataset.val_tokens is None):
        return
    tokens, wanted = max(1, score.windows.tokens), track.evaluation.shadow_tokens
    if dataset.kind != "embedded":
        room = max(0, (dataset.val_tokens or 0) - track.data.val_tokens - 2) // tokens
        wanted = 0 if wanted == 0 else min(room, max(1, wanted // tokens)) * tokens
    source = "fresh" if dataset.kind == "embedded" else "rest"
    expected = f"{wanted} tokens, {source}" if wanted else "none"
    found = f"{score.shadow.count} tokens, {score.shadow.source}" if score.shadow else "none"
    if expected != found:
        yield f"{the_run(run)} was not asked the track's shadow text", expected, found


def untold_finding(facts: ExamFacts) -> Iterator[Contradiction]:
    """What a score breaks of the track's limits stands among the run's findings, in either arm."""
    run, score, track = facts.run, facts.run.score, facts.track
    if score is None or track is None or run.practice:
        return
    told = {finding.id for finding in run.errors}
    untold = sorted({finding.id for finding in findings(score, track.evaluation)} - told)
    if untold:
        yield f"{the_run(run)} does not tell what its score shows", "findings of its score", ", ".join(untold)


def sentence_tells_another_loss(facts: ExamFacts) -> Iterator[Contradiction]:
    """The sentence of a complete run tells its loss, to the digits it has."""
    run, score = facts.run, facts.run.score
    said = re.search(r"\bval_loss (-?\d+\.(\d+))", run.sentence)
    if run.status != Status.COMPLETE or score is None or said is None:
        return
    if abs(float(said[1]) - score.val_loss) > 0.51 * 10.0 ** -len(said[2]):
        yield f"{the_run(run)}: its sentence tells another loss", f"{score.val_loss}", said[1]

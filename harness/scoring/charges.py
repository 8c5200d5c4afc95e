"""Charges: what the answers of a run add to its time. Pure: `verify` computes them again from `run.json` and the track.

    first_answer    what the first answer took beyond the track's slack and the reading of its weights
    later_answers   what later ones took beyond three of their own medians and the same slack, added up

Both are of the evaluator that took less, since noise hits one or the other and work has to be done by each. The first
threshold is absolute: nothing a submission does in rehearsals or later answers is subtracted from it. The second is
for parts made when they are first needed (an expert, a row of a table): whatever one evaluator made for its first
windows and the other one later counts once. It cannot see what fits below it: each batch can hide two of its medians
and the slack, or 0.1 s where that is more, since a busy machine holds an answer up by as much. A part that every answer
needs is not among them: it is in the first answer.
"""

from collections.abc import Sequence

from ..formats import numbers
from ..formats.answers import Answers
from ..formats.run import Charge, Score
from ..formats.track import Evaluation
from ..system.clock import NS

LEAST_LATER_FREE_NS = NS // 10  # of a later answer, beyond three medians


def of_answers(answers: Answers, evaluation: Evaluation, train_ns: int, weights_bytes: int) -> tuple[Charge, Charge]:
    """train_ns: the run's own, from GO to the last seal."""
    free_ns = evaluation.free_answer_ns(train_ns, weights_bytes)
    first_ns = [max(0, opening.slowest_ns - free_ns) for opening in answers.pairs[-1]]
    later_ns = [later.excess_ns(max(free_ns, LEAST_LATER_FREE_NS)) for later in answers.later]
    both_ns = [first + later for first, later in zip(first_ns, later_ns, strict=True)]
    return (
        Charge.of("first_answer", answers.first_ns, free_ns),
        Charge.of("later_answers", min(both_ns) - min(first_ns), 0),
    )


def told(charges: Sequence[Charge], score: Score | None) -> list[str]:
    """A sentence for each charge on a run's answers that is not nothing, with the advice that mends it."""
    if score is None or score.answers is None:
        return []
    answers = score.answers
    charged = {charge.kind: charge for charge in charges if charge.charged_ns}
    sentences = []
    if (first := charged.get("first_answer")) is not None:
        sentences.append(
            f"first answer {_time(first.measured_ns)} after the weights arrived; {_time(first.charged_ns)} above the "
            f"track's slack of {_time(first.free_ns)} were added to the time; {_rehearsal(answers)}"
        )
    if (later := charged.get("later_answers")) is not None:
        sentences.append(
            f"some later answers took far longer than the others; {_time(later.charged_ns)} were added to the time: "
            "build all parts of the model in `load`, before the first answer"
        )
    return sentences


def _rehearsal(answers: Answers) -> str:
    if answers.rehearsal_failed is not None:
        said = answers.rehearsal_failed.splitlines()[0][:200] if answers.rehearsal_failed.strip() else "an exception"
        return f"its rehearsal failed ({said}): reserve values that `load` can take, such as those before training"
    if answers.rehearsal_ns is None:
        return "it was not rehearsed"
    return f"the same path took {_time(answers.rehearsal_ns)} in rehearsal: keep what `load` builds at module level"


def _time(time_ns: int) -> str:
    return f"{time_ns / 1e6:.0f} ms" if time_ns < NS else numbers.fixed_seconds(time_ns / NS)

"""What the judge found, as it stands in `run.json`."""

from typing import Annotated, Literal

from pydantic import Field

from .answers import Answers
from .section import Nanoseconds, Section


class Windows(Section):
    """One entry per `windows_per_sum` windows of the validation stream, in order; the last may hold fewer."""

    tokens: int  # length of a window
    windows_per_sum: Annotated[int, Field(ge=1)] = 1
    loss_sums: list[float]  # nats, fp64
    counts: list[int]  # targets scored


class Repeats(Section):
    """Pairs of a window and the same one asked again."""

    pairs: int
    max_abs_difference: float  # nats, of one token's loss
    mean_abs_difference: float


class Probes(Section):
    """Pairs of a window and its copy with another suffix, each seen by another evaluator."""

    pairs: int
    max_abs_difference: float  # nats, of one token's loss before the cut
    mean_abs_difference: float
    gain: float | None = None  # nats by which a prefix is easier before its real suffix, mean over the pairs
    gain_standard_error: float | None = None
    last_gain: float | None = None  # the same of the last position before the cut alone; None: older rules
    last_gain_standard_error: float | None = None
    state_gain: float | None = None  # nats per token by which order and repeat pairs are easier where asked later
    state_gain_standard_error: float | None = None
    order: Repeats | None = None  # among other windows, by the other evaluator
    repeat: Repeats | None = None  # by the same evaluator


class Shadow(Section):
    """Validation text that was asked like the rest and not scored."""

    source: Literal["fresh", "rest"]  # fresh text of the embedded corpus, or the shard behind the scored tokens
    seed: int  # it was drawn from; secret until the run was scored
    count: int
    val_loss: float  # nats per token
    gap: float  # nats per token by which it is harder than the scored text
    standard_error: float | None  # of the gap


class Score(Section):
    val_loss: float  # nats per token, rounded to 7 digits from loss_sum / count
    leak_nats: float = 0.0  # charged: the most that later tokens or earlier windows gave, as far as the probes can tell
    loss_sum: float  # fp64
    count: int
    eval_batch: int
    eval_ns: Nanoseconds | None = None  # from the first batch to the last, on the judge's clock
    windows: Windows
    probes: Probes
    shadow: Shadow | None = None  # None: this dataset or track has none
    answers: Answers | None = None  # how long they took; None: nothing is charged (practice, self-timed, older rules)

    @property
    def tested_loss(self) -> float:
        """What targets and statistics take: val_loss and what was charged, nats per token."""
        return self.val_loss + self.leak_nats

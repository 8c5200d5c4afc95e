"""What a rank may say to the referee. Everything else is a broken protocol, and the end of the run."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import first_problem

Count = Annotated[int, Field(ge=0, lt=2**62)]
Shown = Annotated[int, Field(gt=-(2**62), lt=2**62)]  # untrusted, but small enough for a display to reckon with


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TensorShape(Message):
    """Name, dtype and shape of one tensor, as a rank reserves it."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    dtype: Annotated[str, Field(max_length=32)]
    shape: Annotated[list[Count], Field(max_length=16)]


class Hello(Message):
    kind: Literal["hello"]
    rank: Count


class Reserve(Message):
    kind: Literal["reserve"]
    weights: Annotated[list[TensorShape], Field(max_length=20_000)]


class Go(Message):
    kind: Literal["go"]
    passes: Count | None = None  # backward passes so far, by the rank's own count
    tokens: Count | None = None  # in them


class Stop(Message):
    kind: Literal["stop"]
    passes: Count | None = None  # since go
    tokens: Count | None = None


class Log(Message):
    kind: Literal["log"]
    """For the display and the train-loss curve only."""

    step: Shown
    steps: Shown | None = None
    train_loss: float | None = None
    tokens: Shown | None = None


class Snapshot(Message):
    kind: Literal["snapshot"]
    step: Count


class SnapshotDone(Message):
    kind: Literal["snapshot_done"]
    step: Count


class Failed(Message):
    kind: Literal["failed"]
    reason: Literal["prepare_failed", "no_train", "no_load", "exception", "weights_mismatch", "stop_called_twice"]
    error: Annotated[str, Field(max_length=4000)]


class Returned(Message):
    kind: Literal["returned"]


RankMessage = Annotated[
    Hello | Reserve | Go | Stop | Log | Snapshot | SnapshotDone | Failed | Returned,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[RankMessage] = TypeAdapter(RankMessage)


def parse(body: bytes) -> RankMessage:
    """A message from JSON. Raises ValueError with the first thing that is wrong."""
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error

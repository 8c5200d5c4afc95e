"""The rules of a run as a state machine, without sockets or clocks: what each rank may say, and when.

    hello -> reserve -> go        GO when the last rank has asked
          -> stop                 STOP when the last rank's weights are sealed

Anything else raises RunFailure with the status that names it. The referee (referee.py) feeds it messages and does
what it answers; tests feed it every order of events.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import RunFailure
from ..formats import weights
from ..formats.messages import Failed
from ..formats.weights import WeightBuffer
from ..status import Status

_FAILURES = {
    "no_train": Status.NO_TRAIN,
    "no_load": Status.NO_LOAD,
    "prepare_failed": Status.PREPARE_FAILED,
    "weights_mismatch": Status.WEIGHTS_MISMATCH,
    "stop_called_twice": Status.STOP_CALLED_TWICE,
}


class Phase(StrEnum):
    PREPARE = "prepare"
    TRAIN = "train"
    STOPPED = "stopped"


@dataclass(slots=True)
class RankState:
    """How far one rank has come."""

    buffer: WeightBuffer | None = None
    asked_go: bool = False
    asked_stop: bool = False
    sealed: bool = False


@dataclass(slots=True)
class Session:
    """One run between the first hello and the last seal."""

    world_size: int
    weights_bytes: int  # the track's budget
    phase: Phase = Phase.PREPARE
    ranks: dict[int, RankState] = field(default_factory=dict)

    def hello(self, rank: int) -> None:
        """A rank has connected. Raises RunFailure if it cannot be one of this run's."""
        if rank >= self.world_size or rank in self.ranks or self.phase != Phase.PREPARE:
            raise RunFailure(
                Status.PROTOCOL_BROKEN,
                f"expected ranks 0 to {self.world_size - 1} once each, found another {rank}",
            )
        self.ranks[rank] = RankState()

    def reserve(self, rank: int, buffer: WeightBuffer) -> None:
        if self.phase != Phase.PREPARE or self.ranks[rank].asked_go:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} called reserve() after go(); it belongs before")
        if self.ranks[rank].buffer is not None:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} called reserve() twice; expected it once")
        if buffer.size > self.weights_bytes:
            weights.check_union([buffer], self.weights_bytes)
        self.ranks[rank].buffer = buffer

    def go(self, rank: int) -> bool:
        """A rank has asked for GO; True when it was the last one."""
        state = self.ranks[rank]
        if state.asked_go:
            raise RunFailure(Status.GO_CALLED_TWICE, f"rank {rank} called go() twice; expected it once")
        if state.buffer is None:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} called go() before reserve(weights)")
        state.asked_go = True
        if not self._all(lambda s: s.asked_go):
            return False
        weights.check_union(self.buffers(), self.weights_bytes)
        self.phase = Phase.TRAIN
        return True

    def stop(self, rank: int) -> None:
        """A rank says that its weights are handed over; the referee seals them next."""
        state = self.ranks[rank]
        if self.phase == Phase.PREPARE:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} called stop() before go()")
        if state.asked_stop:
            raise RunFailure(Status.STOP_CALLED_TWICE, f"rank {rank} called stop() twice; expected it once")
        state.asked_stop = True

    def sealed(self, rank: int) -> bool:
        """A rank's weights are sealed; True when it was the last one."""
        self.ranks[rank].sealed = True
        if not self._all(lambda s: s.sealed):
            return False
        self.phase = Phase.STOPPED
        return True

    def failed(self, rank: int, message: Failed) -> RunFailure:
        """What a rank's own report of its failure means."""
        if message.reason == "exception":
            prepare = self.phase == Phase.PREPARE
            status = Status.PREPARE_FAILED if prepare else Status.TRAIN_FAILED
            return RunFailure(status, f"rank {rank} raised in {self.phase.upper()}: {message.error}")
        return RunFailure(_FAILURES[message.reason], f"rank {rank}: {message.error}")

    def returned(self, rank: int) -> RunFailure:
        """train(run) came back: a failure, since stop() never returns."""
        if self.phase == Phase.PREPARE:
            return RunFailure(Status.GO_NOT_CALLED, f"train(run) returned on rank {rank} without calling go()")
        return RunFailure(Status.STOP_NOT_CALLED, f"train(run) returned on rank {rank} without calling stop(weights)")

    def died(self, rank: int) -> RunFailure:
        return RunFailure(
            Status.RANK_DIED,
            f"rank {rank} died in {self.phase.upper()} without a word; its last lines are in the log",
        )

    def timeout(self, budget_s: float) -> RunFailure:
        """The phase's budget is spent: which ranks it waited for."""
        if self.phase == Phase.PREPARE:
            late = self._ranks_without(lambda s: s.asked_go)
            return RunFailure(
                Status.PREPARE_TIMEOUT,
                f"PREPARE took more than {budget_s:g} s: no go() from {self._name(late)}",
            )
        late = self._ranks_without(lambda s: s.sealed)
        return RunFailure(
            Status.TRAIN_TIMEOUT,
            f"training took more than {budget_s:g} s: no stop(weights) from {self._name(late)}",
        )

    def buffers(self) -> list[WeightBuffer]:
        return [state.buffer for _, state in sorted(self.ranks.items()) if state.buffer is not None]

    def _all(self, test: Callable[[RankState], bool]) -> bool:
        return len(self.ranks) == self.world_size and not self._ranks_without(test)

    def _ranks_without(self, test: Callable[[RankState], bool]) -> list[int]:
        return [r for r in range(self.world_size) if r not in self.ranks or not test(self.ranks[r])]

    def _name(self, ranks: list[int]) -> str:
        if len(ranks) == self.world_size:
            return "any rank"
        return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"

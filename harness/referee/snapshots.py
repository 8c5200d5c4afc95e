"""Practice: weights handed over while training goes on, to be scored after it."""

from dataclasses import dataclass, field

from ..errors import RunFailure
from ..formats.weights import TensorSpec, WeightBuffer
from ..status import Status

MAX_SNAPSHOTS = 64


@dataclass(slots=True)
class HeldSnapshot:
    """The weights of one step, rank by rank."""

    step: int
    elapsed_ns: int  # since GO, when the first rank asked
    buffers: dict[int, WeightBuffer] = field(default_factory=dict)
    sealed: set[int] = field(default_factory=set)

    def parts(self) -> list[WeightBuffer]:
        """What has been handed over whole, in order of ranks."""
        return [self.buffers[rank] for rank in sorted(self.sealed)]


class Snapshots:
    """Those of one run."""

    def __init__(self) -> None:
        self._by_step: dict[int, HeldSnapshot] = {}

    def begin(self, rank: int, step: int, elapsed_ns: int, specs: tuple[TensorSpec, ...]) -> WeightBuffer:
        """The buffer a rank is to fill. Raises RunFailure when it has one for this step, or when there are too many."""
        if step not in self._by_step and len(self._by_step) >= MAX_SNAPSHOTS:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"expected at most {MAX_SNAPSHOTS} snapshots, found one more")
        snapshot = self._by_step.setdefault(step, HeldSnapshot(step, elapsed_ns))
        if rank in snapshot.buffers:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} took a second snapshot of step {step}")
        snapshot.buffers[rank] = WeightBuffer(specs)
        return snapshot.buffers[rank]

    def end(self, rank: int, step: int) -> None:
        """A rank's part is there. Raises RunFailure when it was not asked for or cannot be sealed."""
        snapshot = self._by_step.get(step)
        if snapshot is None or rank not in snapshot.buffers or not snapshot.buffers[rank].seal():
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {rank} has no snapshot of step {step} that can be sealed")
        snapshot.sealed.add(rank)

    def complete(self, model: list[WeightBuffer]) -> list[HeldSnapshot]:
        """Those that hold every weight of the model, in the order in which they were taken."""
        wanted = _names(model)
        found = [snapshot for snapshot in self._by_step.values() if _names(snapshot.parts()) == wanted]
        return sorted(found, key=lambda snapshot: snapshot.elapsed_ns)

    def close(self) -> None:
        for snapshot in self._by_step.values():
            for buffer in snapshot.buffers.values():
                buffer.close()


def _names(buffers: list[WeightBuffer]) -> set[str]:
    return {spec.name for buffer in buffers for spec in buffer.specs}

"""What a machine did between GO and STOP besides a run, or instead of it; measured by the referee, from outside.

What differs between machines cancels from pairs of one campaign. What differs between its arms does not: a neighbour
that wakes for the baseline alone makes any candidate fast. So every run keeps how much of its cores it could not have.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Counted = Annotated[int, Field(ge=0)]  # nanoseconds


class MachineLoad(BaseModel):
    """Over the cores a run was held to, GO to STOP. None: this machine does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    cores: Annotated[int, Field(ge=1)]
    wall_ns: Counted
    own_ns: Counted  # processor time of the submission's processes
    referee_ns: Counted  # of the referee itself
    others_ns: Counted  # of everybody else's, and of the kernel where it works for nobody in particular
    steal_ns: Counted  # the hypervisor gave to other machines
    throttled_ns: Counted | None  # the scheduler held the referee's group or one above it back, for its quota
    waiting_ns: Counted | None  # some process was ready and had no core: the run queue, of the whole machine
    gpu_sm_mhz: Annotated[float, Field(gt=0)] | None = None  # mean clock of all GPUs; None: no GPU, or none that says

    @property
    def available(self) -> float:
        """Share of the cores that the run could have had, between 0 and 1."""
        whole_ns = max(1, self.cores * self.wall_ns)
        lost_ns = self.others_ns + self.steal_ns + (self.throttled_ns or 0)
        return min(1.0, max(0.0, 1 - lost_ns / whole_ns))

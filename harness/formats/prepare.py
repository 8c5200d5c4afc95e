"""What was done before GO, as `run.json` keeps it: the facts that a charge and a rule are derived from."""

from typing import Annotated, Literal

from pydantic import Field

from .section import Nanoseconds, Section

Count = Annotated[int, Field(ge=0)]


class Work(Section):
    """Training as the ranks' own interpreters count it, all ranks together. A submission that wants to can hide it."""

    passes: Count  # backward passes of torch: what every step of an optimizer needs
    tokens: Count | None = None  # in them; after GO as if every pass were as large as the first; None: not counted


class Prepare(Section):
    """PREPARE: from the first process of a submission to GO."""

    cpu_ns: Nanoseconds  # of all its processes and threads, the dead included
    counted_by: Literal["control group", "wall clock"]  # the latter: cores x time, the most it can have been
    cores: Annotated[int, Field(ge=1)]  # that the track gives a run
    launch_cpu_ns: Nanoseconds | None = None  # the same of a submission that only calls go; None: PREPARE costs nothing
    before_go: Work | None = None  # None: not told by every rank
    after_go: Work | None = None

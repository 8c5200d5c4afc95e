"""A section of what is on disk: closed, frozen, strict; numbers are finite."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Nanoseconds = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

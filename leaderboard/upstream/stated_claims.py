"""Stated claims: open claims of which no checkout at hand has the logs, typed from what the public says of them."""

import tomllib

from pydantic import ValidationError

from harness.errors import RecordError, UserError, first_problem
from harness.formats import layout

from .claims import Words
from .history import Claim, HistorySection, Stated
from .open_claims import OpenClaim


class PublicClaim(HistorySection):
    """As its authors state it."""

    key: str
    title: str
    pull_request: int | None = None
    time_s: float | None = None
    saves_s: float | None = None
    steps: int | None = None
    runs: int | None = None
    parents: Words = ()
    note: str = ""


def stated_claims(track: str, read: set[int]) -> list[OpenClaim]:
    """The claims of a track that were not read from their pull request."""
    return [
        OpenClaim(
            key=claim.key, title=claim.title, status="open", pull_request=claim.pull_request, date=None,
            claim=Claim(train_time_s=claim.time_s, steps=claim.steps, runs=claim.runs), saves_s=claim.saves_s,
            stated=Stated(time_s=claim.time_s, steps=claim.steps, runs=claim.runs), parents=claim.parents,
            note=claim.note,
        )
        for claim in _typed().get(track, [])
        if claim.pull_request not in read
    ]  # fmt: skip


def _typed() -> dict[str, list[PublicClaim]]:
    path = layout.OPEN_CLAIMS
    try:
        tables = tomllib.loads(path.read_text())
        return {track: [PublicClaim.model_validate(row) for row in rows] for track, rows in tables.items()}
    except OSError as error:
        raise UserError(f"expected the stated claims at {path}, found none ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"expected TOML in {path}, found: {error}") from error
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}; see PublicClaim in stated_claims.py") from error

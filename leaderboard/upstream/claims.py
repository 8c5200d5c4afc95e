"""Claims: the rows of modded-nanogpt's tables and the losses its READMEs list.

Markdown typed by hand: a row is a number, then cells between pipes. Numbers, dates, links and names are taken, and the
description as a title where the catalogue has none in our words.
"""

import re
import statistics
import tomllib
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from data.printing import printable
from harness.errors import RecordError, UserError, first_problem
from harness.formats import layout

from .history import Claim, HistorySection, Quoted

MAX_ROWS = 10_000
MAX_TITLE = 120
MAX_NAMES = 20
_ROW = re.compile(r"^\|?\s*(\d{1,4})\s*\|(.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\[]{0,2000}\]\(([^)\s]{1,2000})\)")
_HERE = re.compile(r"https?://github\.com/[\w.-]{1,80}/[\w.-]{1,80}/(?:blob|tree)/[\w.-]{1,80}/(records/)")
_TIME = re.compile(r"([\d.]{1,12}) (seconds|minutes|hours)\*?$")
_STEPS = re.compile(r"(\d{1,9})(\(!\))?$")
_EVIDENCE = re.compile(r"(\d\.\d{1,9}) \(n=(\d{1,6})\)")
_UNITS_S = {"seconds": 1, "minutes": 60, "hours": 3600}
_LIST = re.compile(r"\[([\d.,\s]{20,20000})\]")
MIN_QUOTED = 3


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """One row of a table, as typed."""

    number: int
    claim: Claim
    date: date | None
    link: str  # a path in the repository, empty where there is none
    pull_request: int | None
    handles: tuple[str, ...]
    held_record: bool  # marked so in the table (optimizer track); True elsewhere
    title: str = ""  # its description, without links
    names: tuple[str, ...] = ()  # of its contributors, as typed


Words = Annotated[tuple[str, ...], Field(strict=False)]  # TOML has lists


class CatalogueEntry(HistorySection):
    """What the catalogue says about a row: our words, and which logs are its own."""

    number: int
    title: str
    techniques: Words = ()
    authors: Words = ()
    official: bool = True
    systems_only: bool = False
    pull_request: int | None = None
    group: str = ""
    baseline: str = ""  # the folder, in the record's own, of the runs it was raced against
    metric: Literal["val_loss", "val_ema_loss"] = "val_loss"
    note: str = ""


def timed_rows(text: str) -> list[list[ClaimedRow]]:
    """The tables of a README whose second cell is a time, one list each."""
    tables: list[list[ClaimedRow]] = []
    for match in list(_ROW.finditer(text))[:MAX_ROWS]:
        cells = [cell.strip() for cell in match[2].strip().removesuffix("|").split("|")]
        time = _TIME.match(cells[0])
        if time is None or len(cells) < 3:
            continue
        number = int(match[1])
        if not tables or (number == 1 and tables[-1][-1].number > 1):
            tables.append([])
        seconds = round(float(time[1]) * _UNITS_S[time[2]], 6)
        tables[-1].append(_row(number, Claim(train_time_s=seconds), cells, "", held_record=True))
    return tables


def step_rows(text: str, folder: str) -> list[ClaimedRow]:
    """The rows of the README of the optimizer track, whose links are relative to its folder."""
    rows = []
    for match in list(_ROW.finditer(text))[:MAX_ROWS]:
        cells = [cell.strip() for cell in match[2].strip().strip("|").split("|")]
        steps, evidence = _STEPS.match(cells[0]), _EVIDENCE.match(cells[1]) if len(cells) > 1 else None
        if steps and evidence:
            claim = Claim(steps=int(steps[1]), val_loss=float(evidence[1]), runs=int(evidence[2]))
            rows.append(_row(int(match[1]), claim, cells, folder, held_record=bool(steps[2])))
    return rows


def _row(number: int, claim: Claim, cells: list[str], folder: str, *, held_record: bool) -> ClaimedRow:
    links = [_HERE.sub(r"\1", link) for cell in cells[-2:] for link in _LINK.findall(cell)]
    inside = [link for link in links if not link.startswith(("http:", "https:", "#"))]
    requests = re.findall(r"/pull/(\d{1,6})", " ".join(links))
    return ClaimedRow(
        number=number,
        claim=claim,
        date=next((found for cell in cells if (found := _date(cell))), None),
        link=f"{folder}{inside[0]}" if inside else "",
        pull_request=int(requests[0]) if requests else None,
        handles=tuple(
            dict.fromkeys(re.findall(r"@[\w.-]{1,60}\w", _LINK.sub(lambda m: m[0].split("]")[0], cells[-1])))
        ),
        held_record=held_record,
        title=_plain(cells[2 if claim.steps else 1])[:MAX_TITLE].rstrip() if len(cells) > 2 else "",
        names=_names(cells[-1]),
    )


def _plain(cell: str) -> str:
    """Without links, marks and characters that hide or command."""
    words = _LINK.sub(lambda match: match[0][1:].partition("]")[0], cell)
    return printable(" ".join(re.sub(r"[*`\\]", "", words).split()))


def _names(cell: str) -> tuple[str, ...]:
    """The contributors, handles or not, without what is no name."""
    found = (re.sub(r"^and\s+", "", name.strip())[:60] for name in _plain(cell).split(","))
    return tuple(dict.fromkeys(name for name in found if re.search(r"\w", name)))[:MAX_NAMES]


def _date(cell: str) -> date | None:
    try:
        if match := re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)", cell):
            return date(2000 + int(match[3]), int(match[1]), int(match[2]))
        if match := re.fullmatch(r"(\d{4})/(\d\d)/(\d\d)", cell):
            return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        pass
    return None


def quoted_losses(text: str, target: float) -> list[Quoted]:
    """Every list of losses near the target in a README, as count and mean."""
    found = []
    for match in _LIST.finditer(text):
        try:
            losses = [float(part) for part in match[1].split(",") if part.strip()]
        except ValueError:
            continue
        if len(losses) >= MIN_QUOTED and all(abs(loss - target) < 0.1 for loss in losses):
            found.append(Quoted(len(losses), round(statistics.fmean(losses), 4)))
    return list(dict.fromkeys(found))


def catalogue() -> dict[str, list[CatalogueEntry]]:
    """Our words on each row, by track, in the order of its table."""
    path = layout.CATALOGUE
    try:
        tables = tomllib.loads(path.read_text())
        return {track: [CatalogueEntry.model_validate(row) for row in rows] for track, rows in tables.items()}
    except OSError as error:
        raise UserError(f"expected the catalogue at {path}, found none ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"expected TOML in {path}, found: {error}") from error
    except ValidationError as error:
        raise RecordError(
            f"{path}: {first_problem(error)}; see CatalogueEntry in leaderboard/upstream/claims.py"
        ) from error

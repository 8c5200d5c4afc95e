"""The board of claims as tables: for a terminal, as CSV, as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, fields

from rich import box
from rich.table import Table
from rich.text import Text

from data.printing import printable
from harness.formats import numbers
from harness.formats.section import Section
from harness.formats.track import Track

from ..board.columns import joined
from ..upstream.claim_rows import ClaimRow
from .exports import csv_table
from .markdown import as_words

INTRODUCTION = (
    "Claims that no table has accepted: heads of pull requests, folders that no row links, and what is said in public. "
    "A claim is never a record. What authors state stands beside what their own logs hold; nothing was run again here."
)
MEASURED = ("claimed", "in its logs", "baseline", "val_loss", "n", "p", "lines")
MEANINGS = {
    "claimed": "what its authors state",
    "in its logs": "mean time of its logs, by the scripts' own clock",
    "baseline": "the record before it, in logs beside its own on the same kind of machine; in brackets its runs",
    "val_loss": "mean of its logs; in brackets what is stated",
    "n": "runs in its logs; in brackets what is stated",
    "p": "of the track's test over its logs; in brackets what is stated",
    "lines": "of its source, without empty ones",
    "flags": "as the audit of records has them",
}
_LEAST_WIDTH = {"status": 70, "p": 84, "baseline": 100, "date": 132, "lines": 144, "builds on": 160, "flags": 180}


def cells(row: ClaimRow) -> dict[str, str]:
    """A row as text; empty where nothing is said."""
    return {
        "claim": printable(f"#{row.key}" if row.pull_request else row.key),
        "what": printable(row.title),
        "status": row.status,
        "claimed": _claimed(row),
        "in its logs": numbers.seconds(row.time_s),
        "baseline": _baseline(row),
        "val_loss": numbers.loss(row.val_loss) or _only_stated(numbers.loss(row.claimed_val_loss or None)),
        "n": numbers.count(row.runs or None) or _only_stated(numbers.count(row.claimed_runs or None)),
        "p": numbers.p_value(row.p_value) or _only_stated(numbers.p_value(row.claimed_p_value or None)),
        "lines": numbers.count(row.source_lines),
        "date": "" if row.date is None else row.date.isoformat(),
        "builds on": printable(", ".join(row.parents)),
        "flags": ", ".join(row.flags),
    }


def claims_table(track: Track, rows: Sequence[ClaimRow], width: int) -> Table:
    """A rich table; Text objects, never markup. What beats the standing record is bold."""
    table = Table(
        title=f"{track.name}: open claims, none a record",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    texts = [cells(row) for row in rows]
    names = list(texts[0]) if texts else ["claim", "what"]
    shown = [n for n in names if width >= _LEAST_WIDTH.get(n, 0) and (any(t[n] for t in texts) or n == "claim")]
    for name in shown:
        flexible = name in ("claim", "what", "flags", "builds on", "status")
        table.add_column(
            name, justify="right" if name in MEASURED else "left", overflow="fold", no_wrap=not flexible,
            ratio={"what": 2, "flags": 1}.get(name), max_width=14 if name == "claim" else None,
        )  # fmt: skip
    for row, text in zip(rows, texts, strict=True):
        table.add_row(*(Text(text[name]) for name in shown), style="bold" if row.beats_record else "")
    return table


def sentences(rows: Sequence[ClaimRow]) -> list[str]:
    """What stands below the table."""
    whole, beating = sum(row.is_whole for row in rows), sum(bool(row.beats_record) for row in rows)
    known = f"of {whole} a time or steps, n, a loss and p are known"
    return [
        f"{len(rows)} claims; {known}; {beating} would beat the standing record.",
        "in brackets: as stated, where no log says it; baseline: the record before it, in logs beside its own. "
        "`speedrun audit --claims` says what the flags mean.",
    ]


def claims_markdown(track: Track, rows: Sequence[ClaimRow]) -> bytes:
    names = list(cells(rows[0])) if rows else ["claim"]
    lines = [f"## Claims on {track.name}", "", INTRODUCTION, "", _line(names), _line(["---"] * len(names))]
    lines += [_line([as_words(text) for text in cells(row).values()]) for row in rows]
    return ("\n".join(lines) + "\n").encode()


class ClaimList(Section):
    """speedrun leaderboard --claims"""

    track: str
    claims: list[ClaimRow]


def claims_csv(rows: Sequence[ClaimRow]) -> bytes:
    """Every field; lists joined by a semicolon."""
    return csv_table([field.name for field in fields(ClaimRow)], (joined(asdict(row)) for row in rows))


def _claimed(row: ClaimRow) -> str:
    if row.claimed_steps is not None:
        return f"{numbers.count(row.claimed_steps)} steps"
    if row.claimed_time_s is None and row.claimed_saving_s is not None:
        return f"{-row.claimed_saving_s:+g} s"
    return numbers.seconds(row.claimed_time_s)


def _baseline(row: ClaimRow) -> str:
    if row.baseline_time_s is None:
        return ""
    return f"{numbers.seconds(row.baseline_time_s)} ({row.baseline_runs})"


def _only_stated(text: str) -> str:
    """What no log holds, in parentheses."""
    return f"({text})" if text else ""


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"

"""The audit as tables: for a terminal, as Markdown, as one HTML page."""

import html
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from data.printing import printable
from harness.formats import numbers
from harness.formats.track import Track

from .audit import AuditRow

INTRODUCTION = (
    "What the logs of each imported record support, beside what its table claims. A flag says that two numbers differ "
    "or that one is missing; it does not say why, and it accuses nobody: this is a list of things to look at."
)
COLUMNS = ("#", "date", "record", "claim", "n", "mean loss", "sd", "p", "mean time", "differs", "flags")
MEANINGS = {
    "claim": "what the table says", "mean time": "of its logs, by the scripts' own clock",
    "differs": "share by which the logs are slower than the claim",
}  # fmt: skip
_LEAST_WIDTH = {"date": 110, "sd": 120, "record": 90, "mean time": 100, "differs": 80}  # what narrower terminals lose


def cells(row: AuditRow) -> dict[str, str]:
    """A row as text; empty where the logs do not say."""
    return {
        "#": str(row.number) + ("" if row.official else "*"),
        "date": "" if row.date is None else row.date.isoformat(),
        "record": printable(row.title),
        "claim": _claim(row),
        "n": numbers.count(row.runs),
        "mean loss": numbers.loss(row.val_loss, 4 if row.claimed_steps is None else 5),
        "sd": numbers.loss(row.val_loss_sd, 5),
        "p": numbers.p_value(row.p_value),
        "mean time": numbers.seconds(row.time_s),
        "differs": numbers.share(row.time_difference),
        "flags": ", ".join(flag.id for flag in row.flags),
    }


def terminal_table(track: Track, rows: list[AuditRow], width: int) -> Table:
    """A rich table; Text objects, never markup."""
    shown = [name for name in COLUMNS if width >= _LEAST_WIDTH.get(name, 0) and _is_used(name, rows)]
    table = Table(title=f"{track.name}: claims and logs", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        flexible = name in ("record", "flags")
        justify: Any = "left" if flexible or name == "date" else "right"
        table.add_column(name, justify=justify, no_wrap=not flexible, overflow="fold", ratio=1 if flexible else None)
    for row in rows:
        found = cells(row)
        table.add_row(*(Text(found[name]) for name in shown))
    return table


def markdown(track: Track, rows: list[AuditRow]) -> str:
    """A section with one table."""
    names = [name for name in COLUMNS if _is_used(name, rows)]
    lines = [f"## {track.name}", "", INTRODUCTION, "", _markdown_row(names), _markdown_row(["---"] * len(names))]
    lines += [_markdown_row([cells(row)[name] for name in names]) for row in rows]
    lines += ["", "An asterisk marks a row that held no record.", ""]
    flagged = [(row, flag) for row in rows for flag in row.flags]
    lines += [f"- {row.number}, {flag.id}: {printable(flag.sentence)}" for row, flag in flagged]
    return "\n".join(lines) + "\n"


def page(sections: list[tuple[Track, list[AuditRow]]]) -> str:
    """One HTML page that needs nothing else; every text escaped."""
    parts = ["<!doctype html>", '<html lang="en"><meta charset="utf-8"><title>Audit of imported records</title>', STYLE]
    parts += [f"<h1>Audit of imported records</h1><p>{html.escape(INTRODUCTION)}</p>"]
    for track, rows in sections:
        names = [name for name in COLUMNS if _is_used(name, rows)]
        parts.append(f"<h2>{html.escape(track.name)}</h2><table><thead><tr>")
        parts += [f"<th>{html.escape(name)}</th>" for name in names]
        parts.append("</tr></thead><tbody>")
        parts += [_html_row(row, names) for row in rows]
        parts.append("</tbody></table>")
    return "\n".join([*parts, "</html>", ""])


STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } th, td { border-color: #333; } }
</style>"""


def details(row: AuditRow) -> list[str]:
    """One record in full sentences."""
    found = cells(row)
    lines = [f"{found['#']}  {printable(row.title)}", f"  claimed     {found['claim']}"]
    lines += [f"  by          {printable(', '.join(row.authors))}"] if row.authors else []
    if row.runs:
        low, high = row.val_loss_range or (float("nan"), float("nan"))
        spread = f" ± {found['sd']}" if found["sd"] else ""
        loss = f"mean loss {found['mean loss']}{spread}, {numbers.short(low, 5)} to {numbers.short(high, 5)}"
        lines.append(f"  logs        {row.runs} runs by the rule {row.group!r}: {loss}")
        lines.append(f"  p           {found['p'] or 'no test can be made'}")
        lines += (
            [f"  mean time   {found['mean time']} over {row.timed_runs} runs ({found['differs']} of the claim)"]
            if row.time_s
            else []
        )
        lines += [
            f"  machines    {printable('; '.join(row.hardware))}",
            f"  torch       {printable(', '.join(row.torch))}",
        ]
    return lines + [f"  {flag.id:<26}{printable(flag.sentence)}" for flag in row.flags]


def _claim(row: AuditRow) -> str:
    if row.claimed_steps is not None:
        return f"{numbers.count(row.claimed_steps)} steps"
    return numbers.seconds(row.claimed_time_s)


def _is_used(name: str, rows: list[AuditRow]) -> bool:
    return any(cells(row)[name] for row in rows)


def _markdown_row(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|").replace("<", "&lt;") for value in values) + " |"


def _html_row(row: AuditRow, names: list[str]) -> str:
    found = cells(row)
    texts = {name: html.escape(found[name]) for name in names}
    if "flags" in texts:
        texts["flags"] = "<br>".join(
            f"<b>{html.escape(flag.id)}</b>: {html.escape(printable(flag.sentence))}" for flag in row.flags
        )
    return "<tr>" + "".join(f"<td>{texts[name]}</td>" for name in names) + "</tr>"

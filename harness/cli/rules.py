"""speedrun rules: what a record of a track must hold, with numbers and reasons."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..formats.track import Track, default_track, load_track
from ..rules.registry import RULES
from ..rules.source_rules import SOURCE_RULES

STYLES = {"error": "bold red", "warning": "yellow"}


def rules(
    track: Annotated[str | None, typer.Option(help="A track of `speedrun tracks`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show the rules of a track: severity, number, whether a written reason may waive it, and why it is there.

    An error keeps a record out, a warning is shown with it. Numbers are keys of records/<track>/track.toml. The rules
    hold for what a campaign's runs show and for its source; that the evidence itself is whole, `speedrun verify` checks
    on its own, and that cannot be waived.
    """
    contest = load_track(track or default_track())
    rows = [*_of_runs(contest), *_of_source(contest)]
    if as_json:
        print(json.dumps({"track": contest.name, "rules_version": contest.rules_version, "rules": rows}, indent=1))
        return
    console = Console()
    console.print(Text(f"{contest.name}, rules {contest.rules_version}", style="bold"))
    for row in rows:
        _print(row, console)


def _of_runs(track: Track) -> list[dict[str, Any]]:
    return [
        _row(
            track, id=rule.id, of="runs", severity=rule.severity, number=rule.number, why=rule.why, answers=rule.answers
        )
        for rule in RULES
    ]


def _of_source(track: Track) -> list[dict[str, Any]]:
    return [
        _row(
            track,
            id=name,
            of="source",
            severity="error" if name in track.rules.blocking else "warning",
            number=text.number,
            why=f"Expected: {text.expected}.",
            answers=text.answers,
        )
        for name, text in SOURCE_RULES.items()
    ]


def _row(track: Track, *, number: str | None, **row: str) -> dict[str, Any]:
    value: Any = track
    for key in number.split(".") if number else ():
        value = getattr(value, key)
    return row | {"number": number, "value": value if number else None, "waivable": row["id"] in track.rules.waivable}


def _print(row: dict[str, Any], console: Console) -> None:
    value = ", ".join(row["value"]) or "none" if isinstance(row["value"], tuple) else row["value"]
    number = f"  {row['number']} = {value}" if row["number"] else ""
    waivable = "  waivable" if row["waivable"] else ""
    head = Text.assemble((f"{row['severity']:<8}", STYLES[row["severity"]]), (row["id"], "bold"), number, waivable)
    console.print(head, soft_wrap=not console.is_terminal)
    lines = (row["why"], f"Against: {row['answers']}.")
    if console.is_terminal:
        console.print(Padding(Text("\n".join(lines), style="dim"), (0, 0, 0, 8)))
    else:
        console.print(Text("\n".join(f"{'':<8}{line}" for line in lines)), soft_wrap=True)

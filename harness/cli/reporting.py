"""speedrun submit, of a campaign of scripts that time themselves: a row of tier `reported`, without a place."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..errors import UserError, first_problem
from ..records.reported import BADGE, ReportedWords
from ..records.reporting import ReportedDraft, draft_reported, write_reported
from ..records.verdict import evidence_json
from ..status import ExitCode
from .pull_request import pull_request_steps, show_end
from .reports import findings_json, show_evidence, show_findings


def words_of(
    title: str, authors: Sequence[str], day: date, techniques: Sequence[str], note: str | None
) -> ReportedWords:
    """Raises UserError with the first thing said that cannot be kept."""
    try:
        return ReportedWords(
            title=title, authors=tuple(authors), date=day, techniques=tuple(techniques), note=note
        )  # fmt: skip
    except ValidationError as error:
        raise UserError(f"expected words that can be kept about the campaign, found {first_problem(error)}") from error


def submit_reported(folder: Path, words: ReportedWords, key: Path | None, *, dry_run: bool, as_json: bool) -> NoReturn:
    """Judge the campaign, show it, write it where nothing stands against that, and exit: 1 where something does."""
    drafted = draft_reported(folder, words, key)
    written = not drafted.errors and not dry_run
    if not as_json:
        _show(Console(), drafted)
    signature = str(write_reported(drafted, key).signature) if written else None
    if as_json:
        print(json.dumps(_to_json(drafted, written, signature), indent=1))
    else:
        show_end(Console(), drafted.folder, drafted.errors, _next(drafted) if written else None)
    raise typer.Exit(int(ExitCode.MISSED if drafted.errors else ExitCode.OK))


def _show(console: Console, drafted: ReportedDraft) -> None:
    console.print(Text(f"{printable(drafted.words.title)}: {drafted.folder.name}", style="bold"))
    show_evidence(console, drafted.evidence)
    told = f"  no place: tier reported, badge {BADGE}; times and losses are those that the scripts state"
    console.print(Text(told), soft_wrap=True)
    console.print(Text(f"findings under rules {drafted.track.rules_version}", style="bold"))
    show_findings(console, drafted.findings)
    if not drafted.findings:
        console.print("  none")


def _next(drafted: ReportedDraft) -> list[str]:
    track, name = drafted.track.name, drafted.folder.name
    steps = pull_request_steps(drafted.folder, f"reported/{track}/{name}", f"Reported: {drafted.words.title} ({track})")
    return ["open a pull request:", *steps]


def _to_json(drafted: ReportedDraft, written: bool, signature: str | None) -> dict[str, Any]:
    return {
        "track": drafted.track.name,
        "name": drafted.folder.name,
        "folder": str(drafted.folder),
        "written": written,
        "signature": signature,
        "tier": "reported",
        "badge": BADGE,
        "rules_version": drafted.track.rules_version,
        "numbers": None if drafted.numbers is None else drafted.numbers.model_dump(mode="json"),
        "findings": findings_json(drafted.findings),
        "evidence": evidence_json(drafted.evidence),
        "next": _next(drafted) if written else [],
    }

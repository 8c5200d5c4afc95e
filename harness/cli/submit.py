"""speedrun submit: a bundle becomes a record of this checkout, or a reported row of its board."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..errors import UserError
from ..formats import layout, numbers
from ..records.record import Waiver
from ..records.reporting import is_self_timed
from ..records.source_changes import changes
from ..records.standings import Standing, standings
from ..records.submitting import Claims, RecordDraft, draft, parent_and_source, write
from ..records.verdict import evidence_json
from ..status import ExitCode
from ..system import clock
from .pull_request import pull_request_steps, show_end
from .reporting import submit_reported, words_of
from .reports import findings_json, show_diff, show_evidence, show_findings

CLAIMS = ("speed", "systems")


def submit(
    bundle: Annotated[Path, typer.Argument(help="The folder of a campaign: runs/<campaign>.")],
    title: Annotated[str, typer.Option(help="One line that says what is new.")],
    author: Annotated[list[str], typer.Option(help="Once for each author.")],
    name: Annotated[
        str | None, typer.Option(help="Second half of the folder's name; from the title by default.")
    ] = None,
    technique: Annotated[list[str] | None, typer.Option(help="A tag such as muon; repeat it.")] = None,
    claim: Annotated[str, typer.Option(help="speed, or systems: the same losses, computed faster.")] = "speed",
    parent: Annotated[
        list[str] | None, typer.Option(help="A record it builds on; by default the one it was raced against.")
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option(metavar="ID=REASON", help="A finding that should not count.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="One line more, of a campaign of self-timed scripts.")] = None,
    key: Annotated[Path | None, typer.Option(help="SSH key that signs the record, as ~/.ssh/id_ed25519.")] = None,
    day: Annotated[str | None, typer.Option("--date", help="YYYY-MM-DD; today (UTC) by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge and show everything, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Turn a bundle into records/<track>/<date>_<Name>/, judged, complete and verified.

    Shows the evidence, every finding, the difference to the parent's source and the place the record would take. While
    an error-level finding stands that is not waived, nothing is written and the exit code is 1. README.md comes with
    the numbers; what changed and why it works is for its authors to say.

    A campaign of scripts that time themselves becomes records/<track>/reported/<campaign>/ instead: a row of tier
    `reported` with the badge `campaign`, which holds no place and challenges none.
    """
    if claim not in CLAIMS:
        raise UserError(f"expected --claim {' or '.join(CLAIMS)}, found {claim!r}")
    if is_self_timed(bundle):
        _only_of_records({"--name": name, "--claim": claim != "speed", "--parent": parent, "--waive": waive})
        words = words_of(title, author, _date(day), technique or (), note)
        submit_reported(bundle, words, key, dry_run=dry_run, as_json=as_json)
    if note is not None:
        raise UserError("expected no --note with a campaign of refereed runs, found one; README.md is for words")
    claims = Claims(
        title=title,
        authors=tuple(author),
        name=name,
        date=_date(day),
        techniques=tuple(technique or ()),
        claim=cast(Any, claim),
        parents=None if parent is None else tuple(parent),
        waivers=tuple(map(_waiver, waive or ())),
    )
    drafted = draft(bundle, claims, key)
    row = standings([*drafted.before, drafted.record], [])[-1]  # of the newest rules, or `track_changed` stands
    written = not drafted.errors and not dry_run
    if not as_json:
        _show(Console(), drafted, row)
    report = write(drafted, key) if written else None
    if as_json:
        print(json.dumps(_to_json(drafted, row, written, str(report.signature) if report else None), indent=1))
    else:
        show_end(Console(), drafted.folder, drafted.errors, next_steps(drafted) if written else None)
    raise typer.Exit(int(ExitCode.MISSED if drafted.errors else ExitCode.OK))


def _only_of_records(given: Mapping[str, object]) -> None:
    """Raises UserError for the first option that was given: a reported campaign has no such thing."""
    for option, value in given.items():
        if value:
            raise UserError(
                f"expected no {option} with a campaign of scripts that time themselves, found one; only records have it"
            )


def _date(text: str | None) -> date:
    try:
        return clock.utc_now().date() if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"expected a date as 2026-11-22 after --date, found {text!r}") from error


def _waiver(text: str) -> Waiver:
    finding, separator, reason = text.partition("=")
    with suppress(ValueError):  # of pydantic: not an id, or not one printable line
        if separator:
            return Waiver(finding=finding.strip(), reason=reason.strip())
    raise UserError(f"expected --waive ID=REASON with the id of a finding and a written reason, found {text!r}")


def _show(console: Console, drafted: RecordDraft, row: Standing) -> None:
    console.print(Text(f"{printable(drafted.record.statement.title)}: {drafted.folder.name}", style="bold"))
    show_evidence(console, drafted.evidence)
    console.print(Text(f"  {place_sentence(row)}"), soft_wrap=True)
    old, new = parent_and_source(drafted)
    if old != new:
        console.print(Text("difference to its parent", style="bold"))
        show_diff(console, old, new)
    console.print(Text(f"findings under rules {drafted.track.rules_version}", style="bold"))
    show_findings(console, drafted.findings, drafted.verdict.waived)
    if not drafted.findings and not drafted.verdict.waived:
        console.print("  none")


def place_sentence(row: Standing) -> str:
    """Place 3, 12.3 % less time than the record before, on a machine like that record's."""
    parts = [f"place {row.place}"]
    if row.saving is not None:
        saved = numbers.percent(abs(row.saving), 2)
        parts.append(f"{saved} {'less' if row.saving >= 0 else 'more'} time than the record before")
    if row.placed_by == "ratio":
        parts.append("placed by that ratio, its machine being another")
    return ", ".join(parts)


def next_steps(drafted: RecordDraft) -> list[str]:
    """How the pull request is opened."""
    said = drafted.record.statement
    branch, subject = f"record/{said.track}/{said.name}", f"Record: {said.title} ({said.track})"
    readme = drafted.folder / layout.README_FILE
    words = f"write what changed and why it works into {readme}, then open a pull request:"
    return [words, *pull_request_steps(drafted.folder, branch, subject)]


def _to_json(drafted: RecordDraft, row: Standing, written: bool, signature: str | None) -> dict[str, Any]:
    return {
        "track": drafted.track.name,
        "name": drafted.folder.name,
        "folder": str(drafted.folder),
        "written": written,
        "signature": signature,
        "place": row.place,
        "saving": row.saving,
        "placed_by": row.placed_by,
        "rules_version": drafted.track.rules_version,
        "findings": findings_json(drafted.findings),
        "waived": [entry.model_dump(mode="json") for entry in drafted.verdict.waived],
        "evidence": evidence_json(drafted.evidence),
        "diff": [asdict(change) for change in changes(*parent_and_source(drafted))],
        "next": next_steps(drafted) if written else [],
    }

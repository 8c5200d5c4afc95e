"""speedrun submit: a bundle becomes a record of this checkout."""

import json
import shlex
import subprocess
from contextlib import suppress
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
from ..records.standings import Standing, standings
from ..records.submitting import Claims, RecordDraft, difference_to_parent, draft, write
from ..records.verdict import evidence_json
from ..status import ExitCode
from ..system import clock
from .reports import diff_stat, findings_json, show_diff, show_evidence, show_findings

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
    key: Annotated[Path | None, typer.Option(help="SSH key that signs the record, as ~/.ssh/id_ed25519.")] = None,
    day: Annotated[str | None, typer.Option("--date", help="YYYY-MM-DD; today (UTC) by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge and show everything, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Turn a bundle into records/<track>/<date>_<Name>/, judged, complete and verified.

    Shows the evidence, every finding, the difference to the parent's source and the place the record would take. While
    an error-level finding stands that is not waived, nothing is written and the exit code is 1. README.md comes with
    the numbers; what changed and why it works is for its authors to say.
    """
    if claim not in CLAIMS:
        raise UserError(f"expected --claim {' or '.join(CLAIMS)}, found {claim!r}")
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
    diff = difference_to_parent(drafted)
    written = not drafted.errors and not dry_run
    if not as_json:
        _show(Console(), drafted, row, diff)
    report = write(drafted, key) if written else None
    if as_json:
        print(json.dumps(_to_json(drafted, row, diff, written, str(report.signature) if report else None), indent=1))
    else:
        _show_end(Console(), drafted, written)
    raise typer.Exit(int(ExitCode.MISSED if drafted.errors else ExitCode.OK))


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


def _show(console: Console, drafted: RecordDraft, row: Standing, diff: list[str]) -> None:
    console.print(Text(f"{printable(drafted.record.statement.title)}: {drafted.folder.name}", style="bold"))
    show_evidence(console, drafted.evidence)
    console.print(Text(f"  {place_sentence(row)}"), soft_wrap=True)
    if diff:
        console.print(Text("difference to its parent", style="bold"))
        show_diff(console, diff)
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


def _show_end(console: Console, drafted: RecordDraft, written: bool) -> None:
    if drafted.errors:
        console.print(Text("nothing was written: an error-level finding stands", style="bold red"))
    elif not written:
        console.print("nothing was written (--dry-run)")
    else:
        console.print(Text(f"written and verified: {drafted.folder}", style="bold green"), soft_wrap=True)
        for line in next_steps(drafted):
            console.print(Text(line), soft_wrap=True)


def next_steps(drafted: RecordDraft) -> list[str]:
    """How the pull request is opened."""
    statement = drafted.record.statement
    branch = f"record/{statement.track}/{statement.name}"
    quoted = shlex.quote(f"Record: {statement.title} ({statement.track})")
    folder = shlex.quote(os_path(drafted.folder))
    return [
        f"write what changed and why it works into {drafted.folder / layout.README_FILE}, then open a pull request:",
        f"  git switch -c {branch}",
        f"  git add {folder}",
        f"  git commit -m {quoted}",
        "  git push -u origin HEAD",
        f"  then open {_compare_link(branch)}; CI runs `speedrun verify` and comments its summary",
    ]


def os_path(folder: Path) -> str:
    """Relative to the checkout where it is inside."""
    return str(folder.relative_to(layout.ROOT)) if folder.is_relative_to(layout.ROOT) else str(folder)


def _compare_link(branch: str) -> str:
    """The page of the origin that opens a pull request, or words where the origin is not on the web."""
    with suppress(OSError, subprocess.SubprocessError):
        git = ["git", "-C", str(layout.ROOT), "remote", "get-url", "origin"]
        url = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        host, _, path = url.removeprefix("https://").removeprefix("ssh://").removeprefix("git@").partition("/")
        if ":" in host:  # git@host:owner/name
            host, _, owner = host.partition(":")
            path = f"{owner}/{path}"
        if host and path and "@" not in host and printable(url) == url:
            return f"https://{host}/{path.removesuffix('.git')}/compare/{branch}?expand=1"
    return "a pull request from that branch"


def _to_json(
    drafted: RecordDraft, row: Standing, diff: list[str], written: bool, signature: str | None
) -> dict[str, Any]:
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
        "diff": [{"file": name, "added": added, "removed": removed} for name, added, removed in diff_stat(diff)],
        "next": next_steps(drafted) if written else [],
    }

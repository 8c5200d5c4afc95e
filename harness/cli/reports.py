"""Reports: findings, evidence and diffs as a terminal shows them, also hostile ones."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..campaigns.evidence import ArmEvidence, Evidence
from ..formats import layout, numbers
from ..formats.run import Finding, errors_of
from ..formats.track import Track
from ..records.eligibility import in_words, is_hindered
from ..records.source_changes import changes, unified
from ..records.verdict import WaivedFinding
from ..referee.last_frames import last_frames
from ..sandbox import levels
from ..status import ExitCode

DIFF_LINES = 400
LOG_CUT = "was longer than the track's log_bytes: its head and its tail are kept, with the cut between them"
_SEVERITY = {"error": "bold red", "warning": "yellow"}
_DIFF = {"+": "green", "-": "red", "@": "cyan"}


def say_who_holds(console: Console) -> Callable[[str], None]:
    """What to call when a run has to wait for the machine."""

    def say(holder: str) -> None:
        console.print(f"waiting for another run that holds this machine ({holder})", soft_wrap=True, highlight=False)

    return say


def say_passed_over(console: Console, required: str | None, chosen: str | None = None) -> None:
    """Why this machine's sandbox is not the best one, where nobody asked for it."""
    if required is None:
        for sentence in levels.passed_over(chosen or levels.choose(None)):
            console.print(Text(printable(sentence), style="yellow"), soft_wrap=True)


def say_chances(console: Console, track: Track, found: tuple[Finding, ...], reproduced: str | None) -> None:
    """The first line of a campaign: whether it can become a record here, or what it reproduces."""
    if is_hindered(found):
        line = Text(f"this cannot become a record of {track.name}: {printable(in_words(found))}", style="bold yellow")
    elif reproduced is not None:
        line = Text(f"this is the source of {track.name}/{reproduced}: it can become a reproduction or a refutation")
    else:
        line = Text(f"this can become a record of {track.name}, rules {track.rules_version}")
    console.print(line, soft_wrap=True)


def show_failure(console: Console, sentence: str, folder: Path) -> None:
    """Where in its own files a submission raised, and where the rest of its words are."""
    log = folder / layout.LOG_FILE
    if (frames := last_frames(log, sentence)) is not None:
        console.print(Text("\n".join(f"  {printable(line)}" for line in frames.splitlines())), soft_wrap=True)
    if log.exists() and log.stat().st_size:
        console.print(Text(f"  log: {printable(str(log))}"), soft_wrap=True)


def failure_json(sentence: str, folder: Path, is_failed: bool) -> dict[str, str | None]:
    """`log`, and `traceback` of a run that failed."""
    log = folder / layout.LOG_FILE
    traceback = last_frames(log, sentence) if is_failed else None
    return {"log": str(log) if log.exists() else None, "traceback": traceback}


def show_findings(console: Console, findings: Iterable[Finding], waived: Iterable[WaivedFinding] = ()) -> None:
    """Errors first, then warnings, then what was waived and why."""
    for finding in sorted(findings, key=lambda finding: finding.severity != "error"):
        console.print(_line(finding.severity, _SEVERITY[finding.severity], finding), soft_wrap=True)
    for entry in waived:
        line = _line("waived", "magenta", entry.finding).append(f"; because: {printable(entry.reason)}")
        console.print(line, soft_wrap=True)


def _line(word: str, style: str, finding: Finding) -> Text:
    sentence = f"{finding.id}: {finding.sentence}; expected {finding.expected}, found {finding.found}"
    return Text.assemble("  ", (f"{word:<8}", style), printable(sentence))


def exit_on_errors(findings: Iterable[Finding]) -> None:
    """How a dry run ends whose source a record could not have."""
    if errors_of(findings):
        raise typer.Exit(int(ExitCode.MISSED))


def show_evidence(console: Console, evidence: Evidence) -> None:
    """One line for each arm, and the comparison in words."""
    for arm in (evidence.candidate, evidence.baseline):
        if arm is not None:
            console.print(Text(f"  {arm.arm:<10}{arm_sentence(arm)}"), soft_wrap=True)
    if evidence.comparison is not None:
        for sentence in evidence.comparison.sentences():
            console.print(Text(f"  {sentence}"), soft_wrap=True)


def arm_sentence(arm: ArmEvidence) -> str:
    """4 runs, 3.54 s (3.50 to 3.58), val_loss 1.58110, p = 0.00012."""
    parts = [f"{arm.n} run{'' if arm.n == 1 else 's'}" + (f" and {arm.failed} failed" if arm.failed else "")]
    if arm.mean_time_s is not None:
        span = arm.time_interval_s
        interval = f" ({numbers.short(span.low)} to {numbers.short(span.high)})" if span else ""
        parts.append(f"{numbers.short(arm.mean_time_s)} s" + interval)
    if arm.mean_loss is not None:
        parts.append(f"val_loss {numbers.loss(arm.mean_loss, 5)}")
    if arm.p_value is not None:
        parts.append(f"p = {numbers.plain_p_value(arm.p_value)}")
    return ", ".join(parts)


def show_diff(console: Console, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> None:
    """The lines that came and went in each file, then the diff itself, cut after a few hundred lines."""
    for change in changes(old, new):
        console.print(Text(f"  {printable(change.file)} | +{change.added} -{change.removed}"), soft_wrap=True)
    lines = list(unified(old, new))
    for line in lines[:DIFF_LINES]:
        console.print(Text(printable(line.expandtabs(4)), style=_DIFF.get(line[:1], "")), soft_wrap=True)
    if len(lines) > DIFF_LINES:
        console.print(f"  ... and {len(lines) - DIFF_LINES} more lines")


def findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [finding.model_dump(mode="json") for finding in findings]

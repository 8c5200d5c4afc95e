"""Reports: findings, evidence and diffs as a terminal shows them, also hostile ones."""

from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..campaigns.evidence import ArmEvidence, Evidence
from ..formats import numbers
from ..formats.run import Finding
from ..records.verdict import WaivedFinding
from ..status import ExitCode

DIFF_LINES = 400
LOG_CUT = "was longer than the track's log_bytes: its head and its tail are kept, with the cut between them"
_SEVERITY = {"error": "bold red", "warning": "yellow"}
_DIFF = {"+": "green", "-": "red", "@": "cyan"}


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
    if any(finding.severity == "error" for finding in findings):
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


def diff_stat(lines: list[str]) -> list[tuple[str, int, int]]:
    """(file, lines added, lines removed) of a unified diff."""
    stat: dict[str, list[int]] = {}
    name = ""
    for previous, line in zip(["", *lines], lines, strict=False):
        if line.startswith("+++ ") and previous.startswith("--- "):
            name = line.removeprefix("+++ b/")
            stat[name] = [0, 0]
        elif name and line[:1] in ("+", "-") and not line.startswith("--- "):
            stat[name][line[0] == "-"] += 1
    return [(name, added, removed) for name, (added, removed) in stat.items()]


def show_diff(console: Console, lines: list[str]) -> None:
    """The stat, then the diff itself, cut after a few hundred lines."""
    for name, added, removed in diff_stat(lines):
        console.print(Text(f"  {printable(name)} | +{added} -{removed}"), soft_wrap=True)
    for line in lines[:DIFF_LINES]:
        console.print(Text(printable(line.expandtabs(4)), style=_DIFF.get(line[:1], "")), soft_wrap=True)
    if len(lines) > DIFF_LINES:
        console.print(f"  ... and {len(lines) - DIFF_LINES} more lines")


def findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [finding.model_dump(mode="json") for finding in findings]

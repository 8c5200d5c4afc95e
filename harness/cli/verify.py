"""Reports of verification, for a terminal, for the comment of a pull request and for machines."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..formats import layout
from ..records.readme import as_text, numbers_table
from ..records.record import Record
from ..records.reported import BADGE
from ..records.verdict import evidence_json
from ..records.verification import VerificationReport
from ..status import ExitCode
from .reports import arm_sentence, findings_json, show_findings


def present(found: Iterable[VerificationReport], markdown: bool, as_json: bool) -> None:
    """Show reports as they come, or all of them for machines and people, and exit: 0 only if all of them hold."""
    reports = []
    for report in found:
        reports.append(report)
        if not (as_json or markdown):
            _show(Console(), report)
    if as_json:
        print(json.dumps({"holds": _hold(reports), "reports": [_to_json(report) for report in reports]}, indent=1))
    elif markdown:
        print("\n".join(summary(reports)))
    else:
        _show_end(Console(), reports)
    raise typer.Exit(int(ExitCode.OK if _hold(reports) else ExitCode.MISSED))


def _hold(reports: list[VerificationReport]) -> bool:
    return all(report.holds for report in reports)


def _show(console: Console, report: VerificationReport) -> None:
    if report.kind == "track" and not report.findings:
        return
    word, style = ("holds", "green") if report.holds else ("broken", "bold red")
    line = Text.assemble((f"{word:<8}", style), f"{report.kind} {printable(_name(report))}")
    if report.digest is not None:
        line.append(f": sha256 {report.digest} of {layout.DIGESTS_FILE}")
    if report.evidence is not None:
        line.append(f": {arm_sentence(report.evidence.candidate)}")
    if report.signature is not None:
        line.append(f"; {printable(str(report.signature))}", style="dim")
    console.print(line, soft_wrap=True)
    show_findings(console, report.findings, report.waived)


def _show_end(console: Console, reports: list[VerificationReport]) -> None:
    checked, broken = (
        sum(report.kind not in ("track", "tree") for report in reports),
        sum(not report.holds for report in reports),
    )
    console.print(f"{checked} checked, {broken} broken" if broken else f"{checked} checked, all hold")


def summary(reports: list[VerificationReport]) -> list[str]:
    """The same as Markdown, comment-ready: nothing in it that a stranger wrote can be a link, a mention or HTML."""
    verdict = "everything holds" if _hold(reports) else "**something does not hold**"
    lines = [f"## `speedrun verify`: {verdict}", ""]
    for report in reports:
        if report.kind not in ("track", "tree") or report.findings:
            lines += [*_section(report), ""]
    return lines


def _section(report: VerificationReport) -> list[str]:
    lines = [f"### {'✅' if report.holds else '❌'} {report.kind} {as_text(_name(report))}", ""]
    if report.record is not None:
        lines += [*_said(report.record), ""]
    if report.reported is not None and (words := report.reported.statement) is not None:
        lines += [f"{_by(words.title, words.authors, words.date)}, tier reported, badge {BADGE}", ""]
    if report.evidence is not None:
        lines += [*numbers_table(report.evidence), ""]
        lines += [f"- {sentence}" for sentence in against_parent(report)]
    if report.signature is not None:
        lines.append(f"- signature: {as_text(str(report.signature))}")
    for finding in report.findings:
        sentence = f"{finding.sentence}; expected {finding.expected}, found {finding.found}"
        lines.append(f"- {finding.severity} **{finding.id}**: {as_text(sentence)}")
    for entry in report.waived:
        lines.append(
            f"- waived **{entry.finding.id}**: {as_text(entry.finding.sentence)}, because {as_text(entry.reason)}"
        )
    return lines


def _said(record: Record) -> list[str]:
    statement = record.statement
    line = f"{_by(statement.title, statement.authors, statement.date)}, tier {record.tier}"
    techniques = ", ".join(statement.techniques)
    return [line + (f", techniques {techniques}" if techniques else "")]


def _by(title: str, authors: Iterable[str], day: date) -> str:
    return f"{as_text(title)} by {', '.join(map(as_text, authors))}, {day}"


def against_parent(report: VerificationReport) -> list[str]:
    """Whether it is significantly better than the record before it, in words."""
    assert report.evidence is not None
    comparison, before = report.evidence.comparison, report.predecessor
    if comparison is not None:
        faster = {"faster": "**significantly faster** than", "slower": "**slower** than"}
        words = faster.get(comparison.verdict, "**not shown to be faster** than")
        opponent = as_text(before.name) if before is not None and report.kind == "record" else "its baseline"
        return [f"{words} {opponent}", *comparison.sentences()]
    if report.kind == "record":
        return ["the first record of its track" if before is None else f"not raced against {as_text(before.name)}"]
    return []


def _name(report: VerificationReport) -> str:
    parents = {"record": 2, "challenge": 4, "bundle": 1, "track": 1, "tree": 1, "reported": 3}[report.kind]
    return "/".join(report.path.parts[-parents:])


def _to_json(report: VerificationReport) -> dict[str, Any]:
    signature = report.signature
    return {
        "kind": report.kind,
        "path": str(report.path),
        "holds": report.holds,
        "findings": findings_json(report.findings),
        "waived": [entry.model_dump(mode="json") for entry in report.waived],
        "signature": None if signature is None else signature.status,
        "signer": None if signature is None else signature.key,
        "principal": None if signature is None else signature.principal,
        "tier": "reported" if report.reported is not None else None if report.record is None else report.record.tier,
        "predecessor": None if report.predecessor is None else report.predecessor.name,
        "evidence": None if report.evidence is None else evidence_json(report.evidence),
        "digest": report.digest,
    }

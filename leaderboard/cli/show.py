"""speedrun show: everything about one record."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable
from harness.cli.answers import json_text
from harness.cli.reports import show_evidence, show_findings
from harness.formats import numbers
from harness.records.standings import Standing

from ..board.columns import COLUMNS, size_sentence, time_text
from ..board.record_names import Reference, ReportedFolder, find_record
from ..board.show import (
    ImportView,
    ReportedView,
    Shown,
    ShownAttempt,
    StatedRun,
    show_imported,
    show_own,
    show_reported,
)
from ..board.shown import answer
from ..upstream.history import ImportedRow

SHOWN_RUNS = 60
STATED = ("place", "title", "techniques", "authors", "date", "source_lines")  # in sentences of their own


def show(
    record: Annotated[str, typer.Argument(help="A record: its name, track/name, path, or a part only it has.")],
    track: Annotated[str | None, typer.Option(help="Look on this track only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for machines.")] = False,
) -> None:
    """Show everything about one record: evidence, runs, environment, findings, challenges, parents, how to repeat it.

    Every number of a record of this checkout is derived again from its runs, here and now. An imported record is called
    by its track and number (gpt2-small-8xh100/88); what is shown of it is what its table claims and its logs hold.
    """
    reference = find_record(record, track)
    found = _gathered(reference)
    if as_json:
        print(json_text(answer(found)))
        return
    console = Console()
    if isinstance(found, ImportView):
        _print_imported(console, found)
    elif isinstance(found, ReportedView):
        _print_reported(console, found)
    else:
        _print_own(console, found)


def _gathered(reference: Reference) -> Shown | ReportedView | ImportView:
    if isinstance(reference, ImportedRow):
        return show_imported(reference)
    return show_reported(reference) if isinstance(reference, ReportedFolder) else show_own(reference)


def _print_reported(console: Console, found: ReportedView) -> None:
    _title(console, f"{found.track}/{found.name}")
    one = found.campaign
    if (said := one.statement) is not None:
        _facts(
            console,
            ("title", said.title),
            ("by", f"{', '.join(said.authors)}, {said.date}"),
            ("techniques", ", ".join(said.techniques)),
            ("note", said.note or ""),
        )
    _facts(console, *_row_facts(found.standing, "no row: it does not hold" if found.standing is None else "no place"))
    if one.evidence is not None:
        _section(console, "evidence, as the scripts state it")
        show_evidence(console, one.evidence)
        if (derived := one.numbers) is not None and derived.wall_s is not None:
            _lines(console, [f"  whole runs on the referee's clock: {numbers.fixed_seconds(derived.wall_s)}"])
    if found.runs:
        _section(console, "runs")
        _lines(console, [_stated_line(run) for run in found.runs[:SHOWN_RUNS]])
        if len(found.runs) > SHOWN_RUNS:
            _lines(console, [f"  and {len(found.runs) - SHOWN_RUNS} more; --json has them all"])
    if found.environment:
        _section(console, "environment of the first run")
        _facts(console, *found.environment)
    _section(console, "read again now, from its logs")
    _lines(console, ["  it does not hold" if one.errors else "  it holds"])
    show_findings(console, one.findings)
    _facts(console, ("signature", str(one.signature)))
    _section(console, "check it")
    _lines(console, [f"  {command}" for command in found.reproduce])
    _lines(console, ["", "  reported: the scripts timed and validated themselves; nothing here was refereed"])


def _stated_line(run: StatedRun) -> str:
    seed = "its own" if run.seed is None else str(run.seed)
    time = "" if run.time_s is None else numbers.fixed_seconds(run.time_s, 3)
    wall = "" if run.wall_s is None else f"{numbers.fixed_seconds(run.wall_s, 3)} whole"
    told = ", ".join((*run.findings, *([] if run.counted else ["does not count"])))
    loss = numbers.loss(run.val_loss, 5)
    return f"  {run.arm:<9}  {loss:>8}  {time:>12}  {wall:>18}  {run.status:<10}  seed {seed:<10}  {run.run_id}  {told}"


def _print_own(console: Console, found: Shown) -> None:
    _title(console, f"{found.track}/{found.name}")
    if found.record is not None:
        said = found.record.statement
        _facts(
            console,
            ("title", said.title),
            ("by", f"{', '.join(said.authors)}, {said.date}"),
            ("builds on", ", ".join(said.parents) or "no record of this track"),
            ("techniques", ", ".join(said.techniques)),
            ("claims", said.claim),
            ("source", f"{found.record.submission.bytes:,} bytes, sha256 {found.record.submission.sha256[:16]}"),
        )
    _facts(console, *_row_facts(found.standing))
    if found.evidence is not None:
        _section(console, "evidence")
        show_evidence(console, found.evidence)
    if found.runs:
        _section(console, "runs")
        _lines(console, _run_lines(found.runs))
    if found.environment:
        _section(console, "environment of the first run")
        _facts(console, *found.environment)
    _section(console, "verdict, derived again now")
    _lines(console, ["  it holds" if found.report.holds else "  it does not hold"])
    show_findings(console, found.findings, found.waived)
    _facts(console, ("signature", str(found.report.signature or "unsigned")))
    _print_challenges(console, found)
    for parent, files in found.differences:
        _section(console, f"changed since {parent}")
        _lines(console, [f"  {one.file} | +{one.added} -{one.removed}" for one in files] or ["  nothing"])
    _section(console, "check it")
    _lines(console, [f"  {command}" for command in found.reproduce])


def _print_challenges(console: Console, found: Shown) -> None:
    if not found.challenges:
        return
    _section(console, "challenges")
    for one in found.challenges:
        sentence = one.statement.sentence if one.statement else "cannot be read"
        state = "" if one.is_intact else ", does not hold"
        _lines(console, [f"  {one.name}  {one.kind or 'unknown'}{state}: {sentence} (signature: {one.signature})"])
        show_findings(console, one.findings)


def _print_imported(console: Console, found: ImportView) -> None:
    row, audited = found.standing, found.audited
    _title(console, f"{found.track}/{found.number}")
    claimed = [
        time_text(row) or "no time",
        *([f"val_loss {audited.claimed_val_loss:g}"] if audited.claimed_val_loss else []),
    ]
    claimed += [f"{audited.claimed_runs} runs"] if audited.claimed_runs else []
    _facts(
        console,
        ("title", row.title),
        ("by", f"{', '.join(row.authors) or 'not stated'}, {audited.date or 'undated'}"),
        ("techniques", ", ".join(row.techniques)),
        *_row_facts(row, "it never held the record"),
        ("claimed", ", ".join(claimed)),
        ("in its logs", _logged(audited.time_s, audited.time_sd_s, audited.timed_runs)),
        ("loss", _loss(found)),
        ("baseline beside it", _logged(audited.baseline_time_s, None, audited.baseline_runs)),
        ("merged", "" if audited.merged is None else f"{audited.merged}; its table says {audited.date or 'no date'}"),
        ("note", found.note),
        *found.links,
    )
    _section(console, f"runs by the rule {audited.group!r}")
    logs = zip(found.runs[:SHOWN_RUNS], found.paths, strict=False)
    _lines(console, [f"  {numbers.loss(r.val_loss):>7}  {_clock(r.train_time_ms):>12}  {path}" for r, path in logs])
    if len(found.runs) > SHOWN_RUNS:
        _lines(console, [f"  and {len(found.runs) - SHOWN_RUNS} more; --json has them all"])
    if not found.runs:
        _lines(console, ["  none in its repository"])
    _section(console, "environment, as the logs say")
    _facts(console, *found.machines)
    _section(console, "to look at")
    _lines(console, [f"  {flag.id}: {flag.sentence}" for flag in audited.flags] or ["  nothing"])
    _section(console, "check it")
    _lines(console, [f"  {command}" for command in found.reproduce])
    _lines(console, ["", "  reported: the scripts timed and validated themselves; nothing here was refereed"])


def _row_facts(row: Standing | None, none: str = "none: it holds no place on its board") -> list[tuple[str, str]]:
    """Its place and every other column of its board that no statement has told yet. none: said of the place where
    it has none."""
    if row is None:
        return [("standing", none)]
    under = f" under {row.mark}, which nobody races any more" if row.mark else ""
    place = none if row.place is None else f"number {row.place}{under}"
    rest = [(one.header, one.shown(row)) for one in COLUMNS if one.header and one.key not in STATED]
    return [("standing", place), *rest, ("size of its source", size_sentence(row))]


def _logged(mean_s: float | None, sd_s: float | None, runs: int) -> str:
    if mean_s is None:
        return ""
    spread = "" if sd_s is None else f", sd {numbers.seconds(sd_s)}"
    several = "" if runs == 1 else "s"
    return f"{numbers.seconds(mean_s)}, mean of {runs} run{several}{spread}, by the scripts' own clock"


def _loss(found: ImportView) -> str:
    audited = found.audited
    if audited.val_loss is None:
        return ""
    low, high = audited.val_loss_range or (audited.val_loss, audited.val_loss)
    spread = "" if audited.val_loss_sd is None else f", sd {numbers.short(audited.val_loss_sd, 2)}"
    reach = f"{numbers.loss(low)} to {numbers.loss(high)}"
    return f"mean {numbers.loss(audited.val_loss, 5)} of {audited.runs} runs{spread}, {reach}"


def _run_lines(runs: tuple[ShownAttempt, ...]) -> list[str]:
    lines = [f"  {'run':<28} {'arm':<9} {'seed':>10} {'time':>10} {'val_loss':>9}  became"]
    for run in runs[:SHOWN_RUNS]:
        became = run.status + ("" if run.counted else ", does not count")
        became += f" ({', '.join(run.findings)})" if run.findings else ""
        time_s = "" if run.time_s is None else numbers.fixed(run.time_s, 3)
        loss = numbers.loss(run.val_loss, 5)
        lines.append(f"  {run.run_id:<28} {run.arm:<9} {run.seed:>10} {time_s:>8} s {loss:>9}  {became}")
        lines += [f"    {sentence}" for sentence in run.charged]
    return lines + ([f"  and {len(runs) - SHOWN_RUNS} more; --json has them all"] if len(runs) > SHOWN_RUNS else [])


def _clock(milliseconds: int | None) -> str:
    return numbers.grouped_seconds(None if milliseconds is None else milliseconds / 1000)


def _title(console: Console, text: str) -> None:
    console.print(Text(printable(text), style="bold"), soft_wrap=True)


def _section(console: Console, name: str) -> None:
    console.print(Text(f"\n{printable(name)}", style="bold"), soft_wrap=True)


def _facts(console: Console, *facts: tuple[str, str]) -> None:
    """Those that say something."""
    _lines(console, [f"  {name:<20}{value}" for name, value in facts if value])


def _lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True, highlight=False)

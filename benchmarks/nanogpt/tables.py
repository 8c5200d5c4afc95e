"""The tables of a benchmark against nanoGPT: every run, then what they say of each script."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.printing import printable

from .results import NANOGPT, Ratio, Run, Summary, summarise

WIDTH = 120  # columns where nobody looks at a terminal


def show(found: dict[str, Any], runs: list[Run], console: Console | None = None) -> None:
    """found: the report, for its head and its notes."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    target = found["track"]["target_val_loss"]
    title = f"tiny Shakespeare's whole validation split, {found['val_tokens']:,} targets, to {target:g} nats"
    console.print(_runs_table(runs, f"{title}: {found['sittings']} sittings, {found['started_at'][:10]}"))
    if summaries := summarise(runs):
        console.print(_summary_table(summaries))
    for run in runs:
        if run.seconds is None or run.reached is False:
            console.print(Text(printable(f"! sitting {run.sitting}, {run.script}: {run.status}: {run.sentence}")))
    for note in _notes(found):
        console.print(Text(printable(note)))


def _runs_table(runs: list[Run], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("sitting", justify="right")
    table.add_column("script")
    for name in ("ranks", "seed", "val_loss", "seconds", "PREPARE s", "whole s", "own clock s"):
        table.add_column(name, justify="right")
    for name in ("ratio", "PREPARE\ncounted"):
        table.add_column(name, justify="right", style="bold")
    theirs = {run.sitting: run.seconds for run in runs if run.script == NANOGPT}
    for index, run in enumerate(runs):
        loss = "" if run.val_loss is None else f"{run.val_loss:.4f}"
        missed = run.reached is False or run.seconds is None
        cells = [_number(value, 2) for value in (run.seconds, run.prepare_s, run.whole_s, run.own_s)]
        nanogpt_s = None if run.script == NANOGPT else theirs.get(run.sitting)
        ratios = [_times(nanogpt_s, ours) for ours in (run.seconds, run.whole_s)]
        losses = Text(f"{loss} !".strip() if missed else loss, style="red" if missed else "")
        ends = index + 1 == len(runs) or runs[index + 1].sitting != run.sitting
        table.add_row(
            str(run.sitting),
            Text(printable(run.script)),
            str(run.ranks),
            str(run.seed),
            losses,
            *cells,
            *ratios,
            end_section=ends,
        )
    return table


def _summary_table(summaries: list[Summary]) -> Table:
    table = Table(title="nanoGPT's seconds by ours", title_justify="left")
    table.add_column("script")
    for name in ("reached", "mean val_loss", "ratio, median", "95 %", "PREPARE counted, median", "95 %"):
        table.add_column(name, justify="right")
    for found in summaries:
        reached = Text(f"{found.reached} of {found.runs}", style="red" if found.reached < found.runs else "green")
        with_prepare = _ratio(found.ratio_with_prepare)
        table.add_row(
            Text(printable(found.script)), reached, _number(found.mean_val_loss, 4), *_ratio(found.ratio), *with_prepare
        )
    return table


def _notes(found: dict[str, Any]) -> list[str]:
    theirs, here = found["nanogpt"], found["machine"]
    shortened, commit = theirs["shortened_to"], here["commit"] or "unknown"
    command = (
        "the command of its README.md" if theirs["in_its_readme"] else "NOT a command of this checkout's README.md"
    )
    known = "known" if theirs["source_is_known"] else "NOT the one known here"
    notes = [
        f"nanoGPT: {command}, its source ({theirs['source_sha256'][:8]}, {known}) unmodified but for the seed. Its "
        "seconds are the smaller of its wall clock (whole s) and its iterations alone, without start-up, evaluation "
        "and checkpoints; own clock: what its log adds up to, evaluations and checkpoints included.",
        "Ours: GO to STOP on the referee's clock; PREPARE (imports, compilation, caches empty) is whole s less that. "
        "'PREPARE counted' adds it to ours and still counts no start-up of nanoGPT. Losses: our judge's, all of them.",
        f"{here['cpu_cores']} cores, {here['cpu_model']}, {here['memory_bytes'] / 2**30:.0f} GiB, kernel "
        f"{here['kernel']}, Python {here['python']}, torch {here['torch']}, sandbox {found['sandbox']}, commit "
        f"{commit[:12]}{' with changes' if commit.endswith('+') else ''}.",
    ]
    if shortened is not None:
        notes.insert(0, f"ONLY A TRIAL: {shortened} iterations of nanoGPT's 2,000; these ratios mean nothing.")
    return notes


def _ratio(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None:
        return "", ""
    interval = "" if ratio.low is None or ratio.high is None else f"{ratio.low:.1f} to {ratio.high:.1f}x"
    return f"{ratio.median:.1f}x", interval


def _times(nanogpt_s: float | None, ours_s: float | None) -> str:
    return "" if nanogpt_s is None or ours_s is None else f"{nanogpt_s / ours_s:.1f}x"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

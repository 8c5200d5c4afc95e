"""speedrun plot: progress, loss curves and the scatter of runs; here, or as a file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import numbers
from harness.formats.section import Section
from harness.formats.track import Track, default_track, load_track

from ..board.board import read_board
from ..board.record_names import Reference, ReportedFolder, find_record, references
from ..text import plots, terminal_plot
from ..text.plots import ProgressPoint, Scatter, TrainingPoint
from ..text.terminal_plot import Series, smoothed
from ..upstream.history import ImportedRow

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Draw how a record progressed, how runs learned, and how far they scatter.\n\n"
    "Without --out here, in the terminal, where nothing is said by colour; with --out as .png, .svg or a page (.html) "
    "that needs no network. --json prints the points instead.",
)  # fmt: skip

OutOption = Annotated[Path | None, typer.Option("--out", help="A file to draw into: .png, .svg or .html.")]
TrackOption = Annotated[str | None, typer.Option(help="A track of `speedrun tracks`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The points that are drawn, for machines.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[RECORD]...", help="Names, track/name, or parts of them.")]

MAX_WIDTH = 110
STRIP_ROWS = 12  # records whose noise is drawn where none is named
MOST_CURVES = len(terminal_plot.LETTERS)


class PlottedProgress(Section):
    """speedrun plot progress"""

    track: str
    unit: str  # of the points' values
    points: list[ProgressPoint]


class PlottedCurves(Section):
    """speedrun plot curves"""

    points: list[TrainingPoint]


class PlottedNoise(Section):
    """speedrun plot noise"""

    records: list[Scatter]


AnyPlotted = PlottedProgress | PlottedCurves | PlottedNoise  # speedrun plot


@app.command()
def progress(track: TrackOption = None, out: OutOption = None, as_json: JsonOption = False) -> None:
    """Draw how the record of a track fell, on a log axis; the largest steps are named by their techniques."""
    contest = load_track(track or default_track())
    _check(out, as_json)
    points = plots.progress_points(read_board(contest).rows, contest)
    if not points:
        raise UserError(f"expected a track with records, found none on {contest.name}; nothing can be drawn")
    if as_json:
        print(json_text(PlottedProgress(track=contest.name, unit=plots.unit(contest), points=points)))
        return
    if out is None:
        _show(_progress_lines(points, contest, _width()))
        return
    from ..text.plot_files import progress_chart, write_plot

    write_plot(out, progress_chart(points, contest.title, plots.unit(contest), log=contest.metric != "val_loss"))


@app.command()
def curves(
    records: Names = None, track: TrackOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """Draw the training loss of records' runs over steps and over time; without a name, of the last two records.

    A submission reports its training loss itself: nothing is decided by it.
    """
    _check(out, as_json)
    chosen = _chosen(records, track, last=2, own=True)
    if len(chosen) > MOST_CURVES:
        raise UserError(f"expected at most {MOST_CURVES} records, found {len(chosen)}")
    points = [point for reference in chosen for point in plots.curve_points(reference)]
    if as_json:
        print(json_text(PlottedCurves(points=points)))
        return
    if out is None:
        _show(_curve_lines(points, _width()))
        return
    from ..text.plot_files import curves_chart, write_plot

    write_plot(out, curves_chart(points, "Training loss"))


@app.command()
def noise(records: Names = None, track: TrackOption = None, out: OutOption = None, as_json: JsonOption = False) -> None:
    """Draw time and loss of every run of records, with the 95 % interval of their means."""
    _check(out, as_json)
    found = [plots.scatter(reference) for reference in _chosen(records, track, last=STRIP_ROWS, own=False)]
    if as_json:
        print(json_text(PlottedNoise(records=found)))
        return
    if out is None:
        _show(_noise_lines(found, _width()))
        return
    target = None if records else load_track(track or default_track()).target_val_loss
    from ..text.plot_files import noise_chart, write_plot

    write_plot(out, noise_chart(found, "Run to run", target))


def _check(out: Path | None, as_json: bool) -> None:
    if out is not None and as_json:
        raise UserError("expected at most one of --out and --json, found both")
    if out is not None:
        from ..text.plot_files import check_suffix

        check_suffix(out)


def _chosen(names: list[str] | None, track: str | None, last: int, own: bool) -> list[Reference]:
    """The records that were named, or the last ones of a track."""
    if names:
        return [find_record(name, track) for name in names]
    contest = load_track(track or default_track()).name
    left_out = (ImportedRow, ReportedFolder) if own else ReportedFolder
    known = [found for found in references(contest) if not isinstance(found, left_out)]
    if not known:
        what = "records of this checkout" if own else "records"
        raise UserError(f"expected {what} on {contest}, found none; name a record or another --track")
    return known[-last:]


def _progress_lines(points: list[ProgressPoint], track: Track, width: int) -> list[str]:
    log = track.metric != "val_loss"
    chosen = plots.largest_steps(points)
    letters = dict(zip(chosen, terminal_plot.LETTERS, strict=False))
    marks = [terminal_plot.Mark(points[i].place, points[i].value, letter) for i, letter in letters.items()]
    series = terminal_plot.Series([p.place for p in points], [p.value for p in points], steps=True)
    unit = plots.unit(track)
    lines = [f"{track.name}: {track.title}", f"{unit}{' (log axis)' if log else ''} over the number of the record", ""]
    only = f"one record: {numbers.grouped(points[0].value)} {unit}"
    lines += terminal_plot.plot([series], width, marks=marks, log=log) or [only]
    for i, letter in letters.items():
        saved = 1 - points[i].value / points[i - 1].value
        lines.append(
            f"  {letter}  {points[i].place:>3}  {numbers.grouped(points[i].value):>9} {unit}  "
            f"-{numbers.percent(saved)}  {points[i].label}"
        )
    first, last = points[0].value, points[-1].value
    if len(points) == 1:
        return lines
    ends = f"{numbers.grouped(first)} to {numbers.grouped(last)} {unit}"
    return [*lines, f"  {ends} in {len(points)} records, {numbers.short(first / last, 3)} times"]


def _curve_lines(points: list[TrainingPoint], width: int) -> list[str]:
    named = dict(zip(dict.fromkeys(point.record for point in points), terminal_plot.LETTERS, strict=False))
    runs = list(dict.fromkeys((point.record, point.run) for point in points))
    lines: list[str] = []
    for field, label in (("step", "step"), ("elapsed_s", "seconds since GO")):
        series = [_curve_series(points, record, run, field, named[record]) for record, run in runs]
        top = terminal_plot.robust_top([loss for one in series for loss in one.ys])
        kept = [_below(one, top) for one in series]
        lines += [f"training loss over {label}, running means", "", *terminal_plot.plot(kept, width), ""]
    return [*lines, *(f"  {letter}  {name}" for name, letter in named.items())]


def _curve_series(points: list[TrainingPoint], record: str, run: str, field: str, letter: str) -> Series:
    shown = [point for point in points if (point.record, point.run) == (record, run)]
    return Series([getattr(point, field) for point in shown], smoothed([point.loss for point in shown]), letter)


def _below(series: Series, top: float) -> Series:
    """Without the height of the first losses, which would flatten the rest."""
    kept = [(x, y) for x, y in zip(series.xs, series.ys, strict=True) if y <= top]
    return Series([x for x, _ in kept], [y for _, y in kept], series.letter)


def _noise_lines(found: list[Scatter], width: int) -> list[str]:
    lines: list[str] = []
    name_cells = min(max(len(one.record) for one in found), 32)
    cells = max(width - name_cells - 30, 16)
    times = [(one.times_s, one.time_interval_s) for one in found]
    losses = [(one.losses, one.loss_interval) for one in found]
    for label, unit, sides in (("time", "s", times), ("val_loss", "", losses)):
        everything = [x for values, span in sides for x in (*values, *(span or ()))]
        if not everything:
            continue
        ends = min(everything), max(everything)
        low, high = (numbers.short(end, 5) for end in ends)
        lines.append(f"{label}: {low} to {high} {unit}".rstrip() + "; ├┃┤ 95 % interval of the mean")
        for one, (values, span) in zip(found, sides, strict=True):
            name = printable(one.record)[:name_cells]
            row = terminal_plot.strip(values, span, ends, cells)
            lines.append(f"{name:<{name_cells}} {row} {_mean(values, span)}  n={len(values)}".rstrip())
        lines.append("")
    return lines[:-1]


def _mean(values: tuple[float, ...], span: plots.Interval | None) -> str:
    if not values:
        return ""
    mean = f"{numbers.short(sum(values) / len(values), 5):>9}"
    return mean if span is None else f"{mean} ±{numbers.half_width(*span)}"


def _width() -> int:
    return min(Console().width, MAX_WIDTH)


def _show(lines: list[str]) -> None:
    console = Console()
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True, highlight=False)

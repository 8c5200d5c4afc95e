"""speedrun log: what one training log says."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from harness.errors import UserError
from harness.formats import numbers
from harness.selftimed.grammars import BY_NAME, GRAMMARS, Grammar, Reading
from harness.selftimed.lines import LaterResult
from harness.selftimed.logs import file_chunks, read_log
from harness.selftimed.training_log import LoggedRun, TrainingLog

from ..text.terminal_plot import curve, robust_top
from ..upstream.embedded import digest

SHOWN_RUNS = 40
SHOWN_LATER = 6
CURVE_POINTS = 20_000  # of --json
PROGRESS_BYTES = 32 * 2**20
CHART_SUFFIXES = (".svg", ".png")


def log(
    file: Annotated[Path, typer.Argument(help="A log, as the trainer wrote it.")],
    grammar: Annotated[str, typer.Option(help="Which trainer wrote it; auto asks the lines themselves.")] = "auto",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the loss over the steps, here.")] = False,
    chart: Annotated[Path | None, typer.Option(help="The same as a picture: a name that ends in .svg or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for machines.")] = False,
) -> None:
    """Say what is in a training log: its runs, steps, losses and times, the environment, and what is odd about it.

    Knows modded-nanogpt (every generation), nanoGPT, minGPT, llm.c, parameter-golf, nanochat and slowrun. What comes
    behind the last step (of quantised or averaged weights) is shown as `and then`; lines that begin like results and
    cannot be read are counted. A log is the trainer's own word: nothing in it is verified here.
    """
    if chart is not None and chart.suffix not in CHART_SUFFIXES:
        raise UserError(f"expected a picture whose name ends in .svg or .png, found {chart.name!r}")
    path = file.resolve() if file.exists() else file
    found = read_log(_with_progress(path), _known(grammar))
    if as_json:
        print(json.dumps(as_dict(found, str(file)), indent=1))
    else:
        _print(Console(), file, found, plot)
    if chart is not None:
        _draw(found, chart)


def _known(name: str) -> tuple[Grammar, ...]:
    if name == "auto":
        return GRAMMARS
    if name not in BY_NAME:
        raise UserError(f"expected auto or one of the grammars {', '.join(BY_NAME)}, found {name!r}")
    return (BY_NAME[name],)


def _with_progress(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size if path.is_file() else 0
    console = Console(stderr=True)
    if size < PROGRESS_BYTES or not console.is_terminal:
        yield from file_chunks(path)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading", total=size)
        for chunk in file_chunks(path):
            yield chunk
            bar.advance(task, len(chunk))


def as_dict(found: TrainingLog, name: str) -> dict[str, Any]:
    """Everything a log says, as JSON has it: no NaN, no bytes."""
    grammar = found.grammar
    return {
        "file": name,
        "bytes": found.size_bytes,
        "grammar": None if grammar is None else grammar.name,
        "grammar_is_certain": found.is_certain,
        "metric": None if grammar is None else grammar.metric,
        "untimed_steps": None if grammar is None else grammar.untimed_steps,
        "source_sha256": digest(found.source) or None,
        "source_bytes": len(found.source),
        "environment": {name: getattr(found.environment, name) for name in found.environment.__dataclass_fields__},
        "peak_memory_mib": found.peak_memory_mib,
        "runs": [_run_dict(run) for run in found.runs],
        "oddities": [{"id": odd.id, "sentence": odd.sentence} for odd in found.oddities],
        "tier": "reported",
    }


def _run_dict(run: LoggedRun) -> dict[str, Any]:
    return {
        "last": _reading_dict(run.last),
        "is_complete": run.is_complete,
        "validations": [_reading_dict(point) for point in run.validations[:CURVE_POINTS]],
        "training": [_reading_dict(point) for point in run.training[:CURVE_POINTS]],
        "later": [_later_dict(result) for result in run.later],
    }


def _later_dict(result: LaterResult) -> dict[str, str | float | None]:
    values = {name: getattr(result, name) for name in ("val_loss", "val_bpb")}
    known = {name: value if math.isfinite(value) else None for name, value in values.items() if value is not None}
    return {"label": result.label} | known


def _reading_dict(point: Reading) -> dict[str, float | None]:
    values = {name: getattr(point, name) for name in point.__dataclass_fields__}
    return {name: value if math.isfinite(value) else None for name, value in values.items() if value is not None}


def _print(console: Console, file: Path, found: TrainingLog, plot: bool) -> None:
    say = Text.assemble((_safe(file.name), "bold"), f"  {found.size_bytes:,} bytes")
    console.print(say, soft_wrap=True)
    if found.grammar is None:
        console.print("no result lines of any known trainer", highlight=False)
    else:
        by = "written by  " if found.is_certain else "perhaps by  "
        console.print(f"  {by} {found.grammar.about} ({found.grammar.name})", highlight=False, soft_wrap=True)
        if found.grammar.untimed_steps:
            console.print(f"  its clock    leaves out the first {found.grammar.untimed_steps} steps", highlight=False)
    for label, text in _facts(found):
        console.print(Text(f"  {label:<12} {text}"), soft_wrap=True)
    _print_runs(console, found)
    for odd in found.oddities:
        console.print(Text(f"  odd          {odd.sentence}", style="yellow"), soft_wrap=True)
    if plot:
        for run in found.runs[:1]:
            for line in curve(*_curve_of(run), width=min(console.width, 100)):
                console.print(line, highlight=False, markup=False)


def _print_runs(console: Console, found: TrainingLog) -> None:
    for number, run in enumerate(found.runs[:SHOWN_RUNS], start=1):
        console.print(Text(f"  run {number:<8} {_summary(run)}"), soft_wrap=True)
        for result in run.later[-SHOWN_LATER:]:
            console.print(Text(f"  and then     {result.sentence}"), soft_wrap=True)
    if len(found.runs) > SHOWN_RUNS:
        console.print(f"  and {len(found.runs) - SHOWN_RUNS} more runs; --json has them all")


def _facts(found: TrainingLog) -> Iterator[tuple[str, str]]:
    env = found.environment
    if env.gpu:
        yield "machine", f"{env.gpu_count}x {env.gpu}" + (f", driver {env.driver}" if env.driver else "")
    software = (("Python", env.python), ("torch", env.torch), ("CUDA", env.cuda), ("Triton", env.triton))
    if named := ", ".join(f"{name} {version}" for name, version in software if version):
        yield "software", named
    if env.date:
        yield "date", f"{env.date} (the machine's own time)"
    if found.source:
        yield "source", f"{len(found.source):,} bytes embedded, digest {digest(found.source)}"
    if found.peak_memory_mib is not None:
        yield "memory", f"{found.peak_memory_mib:,} MiB at its peak"


def _summary(run: LoggedRun) -> str:
    last = run.last
    parts = [f"step {last.step:,}" + (f" of {last.total:,}" if last.total is not None else "")]
    names = (("val_loss", last.val_loss), ("val_bpb", last.val_bpb), ("train_loss", last.train_loss))
    parts += [f"{name} {value:g}" for name, value in names if value is not None]
    if last.time_ms is not None:
        parts.append(numbers.fixed_seconds(last.time_ms / 1000))
    parts.append(f"{len(run.validations)} validations, {len(run.training)} training lines")
    return ", ".join(parts)


def _curve_of(run: LoggedRun) -> tuple[list[float], list[float]]:
    """Steps and losses, without the first tenth of the losses' height: step 0 would flatten the rest."""
    points = run.validations if len(run.validations) > 1 else run.training
    pairs = [(p.step or 0, p.val_loss if p.val_loss is not None else p.train_loss) for p in points]
    known = [(float(step), loss) for step, loss in pairs if loss is not None]
    top = robust_top([loss for _, loss in known])
    kept = [(step, loss) for step, loss in known if loss <= top] if len(known) > 4 else known
    return [step for step, _ in kept], [loss for _, loss in kept]


def _draw(found: TrainingLog, chart: Path) -> None:
    """The curves of all runs as one picture."""
    import altair
    import vl_convert

    from data.files import write_output

    rows = [
        {"step": step, "loss": loss, "run": str(number)}
        for number, run in enumerate(found.runs[:SHOWN_RUNS], start=1)
        for step, loss in zip(*_curve_of(run), strict=True)
    ]
    if not rows:
        raise UserError(f"expected a log with at least one curve to draw, found none for {chart.name}")
    scale = altair.Scale(zero=False)
    figure = altair.Chart({"values": rows}, width=640, height=360).mark_line().encode(
        x=altair.X("step:Q"), y=altair.Y("loss:Q", scale=scale), color=altair.Color("run:N", legend=None)
    )  # fmt: skip
    spec = figure.to_json()
    drawn = vl_convert.vegalite_to_svg(spec).encode() if chart.suffix == ".svg" else vl_convert.vegalite_to_png(spec)
    write_output(chart, [drawn])


def _safe(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

"""speedrun plan: how many runs a claim needs, and what they cost."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from ..campaigns.bundle import Bundle, read_bundle
from ..campaigns.forecast import ClaimForecast, Forecast, Group, Wishes, alike, forecast
from ..errors import UserError
from ..formats import layout, numbers
from ..formats.run import read_local_runs
from ..formats.track import Track, default_track, load_track, rules_major
from ..records.acceptance import of_major
from ..records.record import read_records

TrackName = Annotated[str | None, typer.Option("--track", help="A track's name, or a path to a track.toml.")]
Effect = Annotated[str | None, typer.Option(help="The saving of time you hope for, such as 0.3%.")]
Power = Annotated[float, typer.Option(help="The chance to show a claim that is true.")]
Margin = Annotated[float | None, typer.Option(help="How far below the target your mean loss lies, in nats.")]
LossSd = Annotated[float | None, typer.Option(help="Standard deviation of val_loss from run to run, in nats.")]
Like = Annotated[
    Path | None, typer.Option("--like", help="A campaign of self-timed scripts, whose spread and cost are taken.")
]
TimeSd = Annotated[str | None, typer.Option(help="Standard deviation of the time within one sitting, such as 0.1%.")]


def plan(
    track: TrackName = None,
    effect: Effect = None,
    power: Power = 0.9,
    margin: Margin = None,
    loss_sd: LossSd = None,
    time_sd: TimeSd = None,
    like: Like = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say how many runs this track's test needs, how many pairs show a saving of time, and what that costs.

    Spreads come from the runs of this checkout where there are enough, else from what is known of the field; the
    answer says which. --like takes both from a campaign of scripts that time themselves, as they state
    them. Fix the number before the first run: `speedrun run --runs N`, `speedrun compare --runs N`.
    """
    bundle = None if like is None else read_bundle(like)
    contest = load_track(track or (default_track() if bundle is None else bundle.plan.track.name))
    try:
        wishes = Wishes(
            effect=None if effect is None else _share(effect, "a saving"),
            power=power,
            margin_nats=margin,
            loss_sd_nats=loss_sd,
            time_sd=None if time_sd is None else _share(time_sd, "a deviation of times"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).removesuffix("_nats").replace("_", "-") if first["loc"] else "options"
        wrong = first["msg"][:1].lower() + first["msg"][1:]
        raise UserError(f"expected numbers a plan can be made of, found that of --{name} the {wrong}") from error
    groups, standing = _measured(contest) if bundle is None else _stated(bundle, contest)
    result = forecast(contest, groups, standing, wishes)
    if as_json:
        print(result.model_dump_json(indent=1))
    else:
        _print(result, Console())


def _share(text: str, what: str) -> float:
    """0.003 of 0.3%. The sign is required: a bare 0.3 could be either."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share < 1:
        raise UserError(f"expected {what} as a percentage such as 0.3%, found '{text}'; write it with its sign.")
    return share


def _measured(track: Track) -> tuple[list[Group], Group]:
    """Runs under the track's major rules that are alike, from records and from here; those of the standing record."""
    records = of_major(read_records(track.name)[0], track.major)
    local, _ = read_local_runs(layout.runs_root())
    runs = [run for record in records for run in record.runs]
    runs += [
        run for run in local if run.track.name == track.name and rules_major(run.track.rules_version) == track.major
    ]
    standing = alike(records[-1].runs) if records else []
    return alike(runs), standing[-1] if standing else ()


def _stated(bundle: Bundle, track: Track) -> tuple[list[Group], Group]:
    """The counted runs of each arm that state both numbers; those of the baseline, or of the only arm."""
    if bundle.plan.self_timed is None or bundle.plan.track.name != track.name:
        raise UserError(
            f"expected --like to name a campaign of self-timed scripts on {track.name}, found {bundle.folder}: "
            f"{'refereed runs' if bundle.plan.self_timed is None else f'one on {bundle.plan.track.name}'}"
        )
    groups: list[Group] = [
        [run for run in bundle.counted(arm.arm) if run.result is not None] for arm in bundle.plan.arms
    ]
    return groups, groups[-1]


def _print(result: Forecast, console: Console) -> None:
    _print_claim(result.loss, numbers.nats, result, console)
    if result.time is not None:
        _print_claim(result.time, numbers.short_percent, result, console)
    else:
        console.print("Time decides nothing on this track, so no pairs are planned.\n", soft_wrap=True)
    devices = f"{result.devices} {result.device_kind}{'s' if result.devices > 1 else ''}"
    console.print(
        f"One run takes {numbers.whole(result.run_s.value)} s on {devices}: {result.run_s.source}.", soft_wrap=True
    )
    console.print(_table(result))
    if result.time is not None:
        console.print("One campaign answers both: speedrun compare CANDIDATE --runs N", style="dim", soft_wrap=True)


def _print_claim(claim: ClaimForecast, show: Callable[[float], str], result: Forecast, console: Console) -> None:
    sigma = "" if claim.sigma is None else f", sigma {claim.sigma:g} nats"
    spread, effect = claim.spread, claim.effect
    interval = "" if spread.low is None or spread.high is None else f" ({show(spread.low)} to {show(spread.high)})"
    lines = [
        f"  test    one-sided {claim.test}-test at p < {claim.alpha:g}{sigma}",
        f"  spread  {show(spread.value)}{interval}; {spread.source}",
    ]
    if effect is not None:
        lines.append(f"  truth   {show(effect.value)} on the good side; {effect.source}")
    console.print(claim.question, style="bold", soft_wrap=True)
    console.print("\n".join([*lines, f"  needs   {_need(claim, result)}", ""]), soft_wrap=True, highlight=False)


def _need(claim: ClaimForecast, result: Forecast) -> str:
    """The answer, as a sentence."""
    if claim.effect is None:
        return "a saving to aim at: --effect 0.3%; the table says what pairs can show"
    if claim.n is None or claim.achieved_power is None or claim.device_hours is None:
        return "more than 100,000: a larger effect, or a quieter machine"
    unit = "pairs of runs" if claim is result.time else "runs of each arm" if claim.test == "welch" else "runs"
    wider = claim.n_at_high if claim.n_at_high and claim.n_at_high > claim.n else None
    at_high = f"; {wider:,} if the spread is at the high end" if wider else ""
    most = "at most " if result.run_s.is_bound else ""
    cost = f"{most}{numbers.hours(claim.device_hours)} {result.device_kind}-hours"
    chance = numbers.percent(claim.achieved_power)
    return f"{claim.n:,} {unit}, {cost}, and then shows it with a chance of {chance}{at_high}"


def _table(result: Forecast) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    chance, unit = numbers.percent(result.power, 0), f"{result.device_kind}-hours"
    table.add_column("n", justify="right")
    table.add_column(f"n runs show, at {chance},\na mean loss better by", justify="right")
    table.add_column(unit, justify="right", vertical="bottom")
    if result.time is not None:
        table.add_column(f"n pairs show, at {chance},\na saving of time of", justify="right")
        table.add_column(unit, justify="right", vertical="bottom")
    for row in result.table:
        loss = "-" if row.loss_nats is None else numbers.nats(row.loss_nats)
        cells = [str(row.n), loss, numbers.hours(row.device_hours)]
        if result.time is not None:
            saving = "-" if row.saving is None else numbers.short_percent(row.saving)
            cells += [saving, numbers.hours(row.pairs_device_hours)]
        table.add_row(*cells)
    return table

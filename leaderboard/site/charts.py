"""Charts: declarations in altair, drawn as SVG while the site is built. A page needs no script to show one.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; style.css maps each of them, and the greys,
to the theme. Text in a chart is somebody else's: the drawing is taken apart and put together again from the few
elements and attributes that a picture needs.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from markupsafe import Markup

from data.printing import one_line
from harness.campaigns.campaign import ARMS
from harness.formats import numbers

from . import addresses

if TYPE_CHECKING:
    import altair as alt

BLUE, VERMILLION, GREEN, SKY = "#0072b2", "#d55e00", "#009e73", "#56b4e9"  # by their places: ours, baseline, ...
INK, FAINT = "#55585f", "#e4e4e0"
WIDTH, HEIGHT = 900, 340
MAX_POINTS = 400
LABELS, LABEL_WIDTH, LABEL_HEIGHT = 7, 0.36, 0.075  # shares of the chart
_BASE = "https://site.invalid/"  # vega insists on whole URLs; this part is cut off again
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = frozenset({"svg", "g", "path", "text", "tspan", "rect", "line", "circle", "a"})
_ATTRIBUTES = frozenset({
    "viewBox", "width", "height", "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "cx", "cy", "r", "transform",
    "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap",
    "stroke-linejoin", "stroke-miterlimit", "opacity", "font-family", "font-size", "font-weight", "font-style",
    "text-anchor", "aria-label", "aria-hidden", "role", "class", "display",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """One record of a progression."""

    when: str | int  # an ISO date, or a place
    value: float  # seconds or steps
    label: str
    techniques: str
    address: str
    tier: str


@dataclass(frozen=True, slots=True)
class CurveDot:
    run: str
    arm: str
    step: int
    elapsed_s: float
    loss: float


@dataclass(frozen=True, slots=True)
class RunPoint:
    run: str
    arm: str
    time_s: float
    loss: float
    address: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """One way to draw a figure."""

    label: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart of one or several drawings that a reader may choose from, and what it shows in words."""

    title: str
    caption: str
    drawings: tuple[Drawing, ...]


Draw = Callable[[str, Callable[[], str]], str]  # (key, how to draw) -> SVG, perhaps from a cache


def progress(points: Sequence[ChartPoint], unit: str, here: str, draw: Draw) -> Figure | None:
    """A track's records over time, the value on a log axis; None for fewer than two."""
    if len(points) < 2:
        return None
    shown = _thinned(points)
    drawings = tuple(
        Drawing(label, _drawn(draw, here, "progress", [asdict(p) for p in shown], unit, scale))
        for label, scale in (("log scale", "log"), ("linear scale", "linear"))
    )
    first, last = points[0].value, points[-1].value
    ends = f"From {numbers.grouped(first)} to {numbers.grouped(last)} {unit}"
    caption = f"{ends} in {len(points)} records. A point leads to its record."
    return Figure("Progress of the record", caption, drawings)


def curves(points: Sequence[CurveDot], here: str, draw: Draw) -> Figure | None:
    """Training loss of every run, as the runs reported it."""
    if not points:
        return None
    rows = [asdict(point) for point in points]
    axes = (("over time", "elapsed_s"), ("over steps", "step"))
    drawings = tuple(Drawing(label, _drawn(draw, here, "curves", rows, axis)) for label, axis in axes)
    runs = len({point.run for point in points})
    caption = f"{runs} runs. The submission reports its training loss itself; nothing is decided by it."
    return Figure("Training loss", caption, drawings)


def scatter(points: Sequence[RunPoint], target: float | None, here: str, draw: Draw) -> Figure | None:
    """Time and loss of every run that counts."""
    if len(points) < 2:
        return None
    svg = _drawn(draw, here, "scatter", [asdict(point) for point in points], target)
    caption = f"{len(points)} runs, one point each" + (
        "" if target is None else f"; the line is the target, {target:g}"
    )
    return Figure("Run to run", caption + ".", (Drawing("", svg),))


def _drawn(draw: Draw, here: str, kind: str, rows: list[dict[str, Any]], *options: Any) -> Markup:
    """Text in rows is made visible, addresses are made links from `here`."""
    for row in rows:
        row |= {key: one_line(value, 120) for key, value in row.items() if isinstance(value, str)}
        if "address" in row:
            row["address"] = _BASE + row["address"]
    key = hashlib.sha256(json.dumps([_version(), kind, rows, options]).encode()).hexdigest()
    svg = draw(key, lambda: _render(_CHARTS[kind](rows, *options)))
    return Markup(_cleaned(svg, here))  # noqa: S704 - rebuilt from allowed elements and attributes


@cache
def _version() -> str:
    """Of these declarations and of what draws them: a drawing of another version is drawn again."""
    drawn_by = [f"{name} {version(name)}" for name in ("altair", "vl-convert-python")]
    return hashlib.sha256(Path(__file__).read_bytes() + " ".join(drawn_by).encode()).hexdigest()


def _render(chart: "alt.TopLevelMixin") -> str:
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
    return svg


def _progress_chart(rows: list[dict[str, Any]], unit: str, scale: Literal["log", "linear"]) -> "alt.TopLevelMixin":
    import altair as alt

    dated = isinstance(rows[0]["when"], str)
    if dated:
        x = alt.X("when:T", title=None, axis=_axis(grid=False, format="%b %Y", tickCount=8))
    else:
        x = alt.X("when:Q", title="record", axis=_axis(grid=False, format="d", tickMinStep=1))
    y = alt.Y(
        "value:Q", title=unit, scale=alt.Scale(type=scale, zero=False, nice=scale != "log", padding=12), axis=_axis()
    )
    base = alt.Chart(alt.InlineData(values=rows))
    line = base.mark_line(interpolate="step-after", color=BLUE, strokeWidth=1.5, opacity=0.55, aria=False).encode(
        x=x, y=y
    )
    dots = base.mark_point(filled=True, size=58, color=BLUE, opacity=1).encode(
        x=x, y=y, href="address:N", description="label:N",
        shape=alt.Shape("tier:N", legend=None, scale=alt.Scale(
            domain=["reported", "refereed", "reproduced"], range=["circle", "square", "diamond"])),
    )  # fmt: skip
    named = alt.Chart(alt.InlineData(values=_labelled(rows)))
    text = named.mark_text(align="left", dx=7, dy=-7, fontSize=12, color=INK, aria=False).encode(
        x=x, y=y, text="techniques:N"
    )
    return _configured(line + dots + text)


def _curves_chart(rows: list[dict[str, Any]], axis: str) -> "alt.TopLevelMixin":
    import altair as alt

    title = {"elapsed_s": "seconds since GO", "step": "step"}[axis]
    losses = sorted(row["loss"] for row in rows)
    top = max(losses[int(len(losses) * 0.9)] * 1.05, losses[0] + 1e-6)
    shown = [row for row in rows if row["loss"] <= top]  # the first steps would flatten all the others
    chart = alt.Chart(alt.InlineData(values=shown)).mark_line(strokeWidth=1.2, opacity=0.75, aria=False)
    return _configured(
        chart.encode(
            x=alt.X(f"{axis}:Q", title=title, axis=_axis(grid=False, tickCount=10)),
            y=alt.Y("loss:Q", title="training loss", scale=alt.Scale(domain=[losses[0], top], nice=True), axis=_axis()),
            detail="run:N",
            color=_arm_colour(rows),
        )
    )


def _scatter_chart(rows: list[dict[str, Any]], target: float | None) -> "alt.TopLevelMixin":
    import altair as alt

    y = alt.Y("loss:Q", title="val_loss", scale=alt.Scale(zero=False, padding=14), axis=_axis())
    x = alt.X(
        "time_s:Q",
        title="seconds, GO to STOP",
        scale=alt.Scale(zero=False, padding=14),
        axis=_axis(grid=False, tickCount=8),
    )
    dots = alt.Chart(alt.InlineData(values=rows)).mark_point(filled=True, size=70, opacity=0.85)
    chart: alt.LayerChart | alt.Chart = dots.encode(
        x=x, y=y, color=_arm_colour(rows), href="address:N", description="run:N",
        shape=alt.Shape("arm:N", legend=None, scale=alt.Scale(domain=list(ARMS), range=["circle", "square"])),
    )  # fmt: skip
    if target is not None:
        rule = alt.Chart(alt.InlineData(values=[{"target": target}])).mark_rule(
            color=VERMILLION, strokeDash=[5, 4], aria=False
        )
        chart = rule.encode(y=alt.Y("target:Q")) + chart
    return _configured(chart)


_CHARTS: dict[str, Callable[..., Any]] = {
    "progress": _progress_chart, "curves": _curves_chart, "scatter": _scatter_chart,
}  # fmt: skip


def _arm_colour(rows: list[dict[str, Any]]) -> "alt.Color":
    """One for each arm, with a legend where there are two."""
    import altair as alt

    both = len({row["arm"] for row in rows}) > 1
    legend = alt.Legend(
        title=None, orient="top", symbolOpacity=1, labelColor=INK, labelFontSize=13, columnPadding=18
    )  # fmt: skip
    scale = alt.Scale(domain=list(ARMS), range=[BLUE, VERMILLION])
    return alt.Color("arm:N", scale=scale, legend=legend if both else None)


def _axis(**more: Any) -> "alt.Axis":
    import altair as alt

    return alt.Axis(
        labelColor=INK, titleColor=INK, domainColor=FAINT, tickColor=FAINT, gridColor=FAINT, labelFontSize=12,
        titleFontSize=12, titleFontWeight="normal", **more,
    )  # fmt: skip


def _configured(chart: "alt.LayerChart | alt.Chart") -> "alt.TopLevelMixin":
    found: alt.TopLevelMixin = (
        chart.properties(width=WIDTH, height=HEIGHT, background="transparent")
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
    )
    return found


def _thinned(points: Sequence[ChartPoint]) -> list[ChartPoint]:
    """At most MAX_POINTS of them, evenly, the first and the last among them."""
    if len(points) <= MAX_POINTS:
        return list(points)
    return [points[i * (len(points) - 1) // (MAX_POINTS - 1)] for i in range(MAX_POINTS)]


def _labelled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose techniques are named in the chart: the largest steps whose labels do not run into each other."""
    places = _places(rows)
    gains = sorted(((a["value"] / b["value"], i) for i, (a, b) in enumerate(pairwise(rows), 1)), reverse=True)
    chosen: list[int] = []
    for gain, i in gains:
        x, y = places[i]
        apart = all(abs(x - places[j][0]) > LABEL_WIDTH or abs(y - places[j][1]) > LABEL_HEIGHT for j in chosen)
        if gain > 1 and apart and rows[i]["techniques"] and x < 1 - LABEL_WIDTH and len(chosen) < LABELS:
            chosen.append(i)
    return [rows[i] for i in sorted(chosen)]


def _places(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Where points lie on a log chart, as shares of its width and height."""
    dated = isinstance(rows[0]["when"], str)
    xs = [date.fromisoformat(row["when"]).toordinal() if dated else row["when"] for row in rows]
    ys = [math.log(row["value"]) for row in rows]
    spans = [(min(values), (max(values) - min(values)) or 1) for values in (xs, ys)]
    return [((x - spans[0][0]) / spans[0][1], (y - spans[1][0]) / spans[1][1]) for x, y in zip(xs, ys, strict=True)]


def _cleaned(svg: str, here: str) -> str:
    """The same picture of nothing but allowed elements and attributes, as HTML takes it."""
    root = _rebuilt(ElementTree.fromstring(svg), here)  # noqa: S314 - vl-convert's own output
    if root is None:
        return ""
    return ElementTree.tostring(root, encoding="unicode")


def _rebuilt(node: ElementTree.Element, here: str) -> ElementTree.Element | None:
    name = node.tag.removeprefix(f"{{{_SVG}}}")
    if name not in _ELEMENTS:
        return None
    made = ElementTree.Element(name, {key: value for key, value in node.attrib.items() if key in _ATTRIBUTES})
    target = node.get(_XLINK, "")
    if name == "a" and target.startswith(_BASE):
        made.set("href", addresses.relative(here, target.removeprefix(_BASE)))
    made.text, made.tail = node.text, node.tail
    made.extend(child for found in node if (child := _rebuilt(found, here)) is not None)
    return made

"""Plots as files: PNG, SVG, or a page that holds all it needs; declared in altair.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; shapes and dashes say the same again.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import write_output
from data.printing import printable
from harness.errors import UserError

from .plots import ProgressPoint, Scatter, TrainingPoint, largest_steps

if TYPE_CHECKING:
    import altair as alt

SUFFIXES = (".png", ".svg", ".html")
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
WIDTH, HEIGHT = 760, 340
PNG_SCALE = 2
_GUARD = "\ue000"  # for private use: no printable text holds it


def check_suffix(path: Path) -> None:
    """Raises UserError before anything is drawn."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"expected a file whose name ends in {', '.join(SUFFIXES)}, found {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"expected a folder at {path.absolute().parent}, found none; make it first")


def write_plot(path: Path, chart: "alt.TopLevelMixin") -> None:
    """Draw a chart into a file, atomically; its name says how."""
    import vl_convert

    spec = chart.to_dict(validate=False)
    if path.suffix == ".png":
        content = bytes(vl_convert.vegalite_to_png(spec, scale=PNG_SCALE))
    elif path.suffix == ".svg":
        content = vl_convert.vegalite_to_svg(spec).encode()
    else:  # it puts the declaration into a script as it is, where a title could end the script
        page = vl_convert.vegalite_to_html(_guarded(spec), bundle=True)
        content = page.replace(_GUARD, "\\u003c").encode()
    write_output(path, [content])


def _guarded(value: Any) -> Any:
    """The same declaration with a mark for every `<` in its words; the mark becomes JavaScript's escape."""
    if isinstance(value, str):
        return value.replace(_GUARD, "").replace("<", _GUARD)
    if isinstance(value, dict):
        return {_guarded(key): _guarded(inner) for key, inner in value.items()}
    return [_guarded(inner) for inner in value] if isinstance(value, list) else value


def progress_chart(points: Sequence[ProgressPoint], title: str, unit: str, *, log: bool) -> "alt.TopLevelMixin":
    """Records over time on a log axis; the largest steps are labelled with their techniques."""
    import altair as alt

    rows = [
        {"place": p.place, "day": str(p.day or ""), "value": p.value, "tier": p.tier, "title": printable(p.title)}
        for p in points
    ]
    dated = all(point.day for point in points) and len({point.day for point in points}) > 1
    x = (
        alt.X("day:T", title=None, axis=alt.Axis(format="%b %Y"))
        if dated
        else alt.X("place:Q", title="record", axis=alt.Axis(tickMinStep=1))
    )
    scale = alt.Scale(type="log", nice=False, padding=16) if log else alt.Scale(zero=False, padding=16)
    y = alt.Y("value:Q", title="seconds" if unit == "s" else unit, scale=scale)
    base = alt.Chart({"values": rows})
    line = base.mark_line(interpolate="step-after", color=COLOURS[0], opacity=0.5).encode(x=x, y=y)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        x=x, y=y, color=_colour("tier"), shape=_shape("tier"), tooltip=["place:Q", "title:N", "value:Q", "tier:N"]
    )
    named = [rows[i] | {"label": _short(points[i].label)} for i in largest_steps(points)]
    labels = alt.Chart({"values": named}).mark_text(align="left", dx=7, dy=-7).encode(x=x, y=y, text="label:N")
    return _sized(line + dots + labels, title)


def curves_chart(points: Sequence[TrainingPoint], title: str) -> "alt.TopLevelMixin":
    """Training loss over steps and, beside it, over time."""
    import altair as alt

    losses = sorted(point.loss for point in points)
    top = max(losses[int((len(losses) - 1) * 0.9)], losses[0] + 1e-6)
    base = alt.Chart({"values": [asdict(point) for point in points]}).mark_line(clip=True, opacity=0.8)
    loss = alt.Y("loss:Q", title="training loss", scale=alt.Scale(domain=[losses[0], top], nice=True))
    dash = alt.StrokeDash("record:N", legend=alt.Legend(title=None, orient="top", labelLimit=400))

    def over(field: str, label: str) -> alt.Chart:
        x = alt.X(f"{field}:Q", title=label, scale=alt.Scale(zero=False))
        drawn: alt.Chart = base.encode(x=x, y=loss, detail="run:N", color=_colour("record"), strokeDash=dash)
        return drawn.properties(width=WIDTH // 2, height=HEIGHT)

    panels = over("step", "step") | over("elapsed_s", "seconds since GO")
    return _configured(panels.properties(title=_short(title, 120)))


def noise_chart(found: Sequence[Scatter], title: str, target: float | None) -> "alt.TopLevelMixin":
    """Time and loss of every run, with the 95 % intervals of their means."""
    import altair as alt

    order = [one.record for one in found]
    panels = [
        _noise_panel(found, order, "seconds", lambda one: (one.times_s, one.time_interval_s), None),
        _noise_panel(found, order, "val_loss, nats per token", lambda one: (one.losses, one.loss_interval), target),
    ]
    return _configured(alt.hconcat(*panels).properties(title=_short(title, 120)))


def _noise_panel(
    found: Sequence[Scatter],
    order: list[str],
    label: str,
    values: Callable[[Scatter], tuple[tuple[float, ...], tuple[float, float] | None]],
    target: float | None,
) -> Any:
    import altair as alt

    runs = [{"record": one.record, "x": x} for one in found for x in values(one)[0]]
    spans = [{"record": one.record, "low": s[0], "high": s[1]} for one in found if (s := values(one)[1]) is not None]
    y = alt.Y("record:N", title=None, sort=order, axis=alt.Axis(labelLimit=240))
    scale = alt.Scale(zero=False, padding=12)
    dots = alt.Chart({"values": runs}).mark_point(size=40, opacity=0.8, color=COLOURS[0])
    bars = alt.Chart({"values": spans}).mark_rule(strokeWidth=3, opacity=0.45, color=COLOURS[1])
    layers: list[Any] = [
        bars.encode(y=y, x=alt.X("low:Q", scale=scale, title=label), x2="high:Q"),
        dots.encode(y=y, x=alt.X("x:Q", scale=scale, title=label)),
    ]
    if target is not None:
        rule = alt.Chart({"values": [{"target": target}]}).mark_rule(strokeDash=[5, 4], color=COLOURS[2])
        layers.append(rule.encode(x=alt.X("target:Q", scale=scale, title=label)))
    return alt.layer(*layers).properties(width=WIDTH // 2, height=max(24 * len(order), 120))


def _colour(field: str) -> "alt.Color":
    import altair as alt

    legend = alt.Legend(title=None, orient="top", labelLimit=400)
    return alt.Color(f"{field}:N", scale=alt.Scale(range=COLOURS), legend=legend)


def _shape(field: str) -> "alt.Shape":
    import altair as alt

    legend = alt.Legend(title=None, orient="top", labelLimit=400)
    return alt.Shape(f"{field}:N", scale=alt.Scale(range=SHAPES), legend=legend)


def _sized(chart: "alt.LayerChart", title: str) -> "alt.TopLevelMixin":
    return _configured(chart.properties(width=WIDTH, height=HEIGHT, title=_short(title, 120)))


def _configured(chart: Any) -> "alt.TopLevelMixin":
    found: alt.TopLevelMixin = chart.configure(font="system-ui, sans-serif", background="white").configure_view(
        stroke=None
    )
    return found


def _short(text: str, limit: int = 48) -> str:
    line = printable(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"

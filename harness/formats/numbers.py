"""Numbers as readers see them: every way in which a measured value is rounded and written, each once.

Whole numbers and what a track states (a target, a budget, an alpha) are not rounded, so a sentence writes those itself.
"""

import math
from typing import Any

# --- any value ---


def fixed(value: float, digits: int) -> str:
    """3.500: as many decimals as asked for."""
    return f"{value:.{digits}f}"


def short(value: float, digits: int = 4) -> str:
    """3.543, 86.42, 2700, 1.2e-06: so many significant digits."""
    return f"{value:.{digits}g}"


def grouped(value: float) -> str:
    """3.543, 86.42, 2,700: four significant digits."""
    return f"{value:,.4g}"


def whole(value: float) -> str:
    """2,700"""
    return f"{value:,.0f}"


def axis(value: float) -> str:
    """Four digits, and more where they stand before the point."""
    return f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e9 else f"{value:.0f}"


def count(value: int | None) -> str:
    """1,234,567"""
    return "" if value is None else f"{value:,}"


def abbreviated(value: float) -> str:
    """1234567 -> 1.23M"""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def setting(value: Any) -> str:
    """A value of a file of settings in words: a count grouped, several in a row, what is not there as "none"."""
    if value is None or value == () or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {setting(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- times ---


def seconds(value: float | None) -> str:
    """3.543 s, 86.42 s, 2,700 s: four digits or a little more."""
    return "" if value is None else f"{value:,.{_decimals(value)}f} s"


def seconds_within(mean: float | None, low: float | None, high: float | None) -> str:
    """3.661 ± 0.221 s: the mean, and half of its 95 % interval where there is one, never rounded to nothing."""
    if mean is None or low is None or high is None:
        return seconds(mean)
    half = (high - low) / 2
    digits = max(_decimals(mean), -math.floor(math.log10(half)) if half > 0 else 0)
    return f"{mean:,.{digits}f} ± {half:,.{digits}f} s"


def _decimals(value_s: float) -> int:
    return 3 if value_s < 10 else 2 if value_s < 1000 else 0


def span_seconds(low: float | None, high: float | None) -> str:
    """95 % interval of a time, its unit once."""
    if low is None or high is None:
        return ""
    return f"{seconds(low).removesuffix(' s')} – {seconds(high)}"


def fixed_seconds(value: float, digits: int = 3) -> str:
    """3.543 s, 2700.125 s"""
    return f"{fixed(value, digits)} s"


def grouped_seconds(value: float | None) -> str:
    """3.543 s, 2,700.125 s"""
    return "" if value is None else f"{value:,.3f} s"


def minutes(value: float | None) -> str:
    """The same in minutes, where that is how people speak of it."""
    return "" if value is None or value < 60 else f"{value / 60:.2f} min"


def age(value_s: float) -> str:
    """42 s, 12 min, 3.2 h, 4 days: how long ago, to two digits or so."""
    for least_s, unit_s, unit, digits in ((172_800, 86_400, "days", 0), (7200, 3600, "h", 1), (120, 60, "min", 0)):
        if value_s >= least_s:
            return f"{value_s / unit_s:.{digits}f} {unit}"
    return f"{max(value_s, 0.0):.0f} s"


def hours(value: float) -> str:
    """0.25, 1,234: without the unit, which is of a device."""
    return whole(value) if value >= 10 else short(value, 2)


# --- losses and what tests say of them ---


def loss(value: float | None, digits: int = 4) -> str:
    """Nats per token."""
    return "" if value is None else fixed(value, digits)


def signed_loss(value: float, digits: int = 5) -> str:
    """+0.00123, the difference of two."""
    return f"{value:+.{digits}f}"


def nats(value: float, digits: int = 2) -> str:
    """0.0013 nats"""
    return f"{short(value, digits)} nats"


def p_value(value: float | None) -> str:
    """0.00012, and a bound where it is too small to be more than a figure."""
    if value is None:
        return ""
    return "< 1e-99" if value < 1e-99 else short(value, 2)


def plain_p_value(value: float | None, digits: int = 2) -> str:
    """0.00012, however small: in sentences, some of which stand in records."""
    return "" if value is None else short(value, digits)


def tiny(value: float) -> str:
    """1.2e-06, and 0 where it is exactly that."""
    return f"{value:.1e}" if value else "0"


def half_width(low: float, high: float) -> str:
    """0.15, what stands after the ± of an interval."""
    return short((high - low) / 2, 2)


# --- shares and ratios ---


def share(value: float | None, digits: int = 1) -> str:
    """+3.2 % saved; a minus is a real one."""
    return "" if value is None else f"{100 * value:+.{digits}f} %".replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """3.2%"""
    return f"{value:.{digits}%}"


def signed_percent(value: float) -> str:
    """+3.2%"""
    return f"{value:+.1%}"


def spaced_percent(value: float, digits: int = 2) -> str:
    """3.21 %"""
    return f"{100 * value:.{digits}f} %"


def short_percent(value: float) -> str:
    """3.21 %, 0.321 %: three significant digits."""
    return f"{100 * value:.3g} %"


def ratio(value: float, digits: int = 4) -> str:
    """0.9876"""
    return fixed(value, digits)


# --- bytes ---


def size(value: int | None) -> str:
    """Bytes in decimal units."""
    if value is None:
        return ""
    amount, unit = float(value), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"


def megabytes(value: float) -> str:
    """1,234.5 MB"""
    return f"{value / 1e6:,.1f} MB"


def gigabytes(value: float) -> str:
    """1.23, in a column that names the unit."""
    return f"{value / 1e9:.2f}"


def mebibytes(value: float) -> str:
    """1,234 MiB"""
    return f"{value / 2**20:,.0f} MiB"


def gibibytes(value: float, digits: int = 1) -> str:
    """12.3 GiB"""
    return f"{value / 2**30:.{digits}f} GiB"

"""Numbers as readers see them: one way to write a time, a loss, a share and a p-value."""


def seconds(value: float | None) -> str:
    """3.543 s, 86.42 s, 2,700 s: four digits or a little more."""
    if value is None:
        return ""
    digits = 3 if value < 10 else 2 if value < 1000 else 0
    return f"{value:,.{digits}f} s"


def span_seconds(low: float | None, high: float | None) -> str:
    """95 % interval of a time, its unit once."""
    if low is None or high is None:
        return ""
    return f"{seconds(low).removesuffix(' s')} – {seconds(high)}"


def minutes(value: float | None) -> str:
    """The same in minutes, where that is how people speak of it."""
    return "" if value is None or value < 60 else f"{value / 60:.2f} min"


def loss(value: float | None, digits: int = 4) -> str:
    """Nats per token."""
    return "" if value is None else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "< 1e-99" if value < 1e-99 else f"{value:.2g}"


def tiny(value: float) -> str:
    """1.2e-06, and 0 where it is exactly that."""
    return f"{value:.1e}" if value else "0"


def share(value: float | None, digits: int = 1) -> str:
    """+3.2 % saved; a minus is a real one."""
    return "" if value is None else f"{100 * value:+.{digits}f} %".replace("-", "−")


def count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


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

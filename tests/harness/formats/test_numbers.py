"""Every way of writing a number, by example."""

import pytest

from harness.formats import numbers


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (numbers.seconds(3.5432), "3.543 s"), (numbers.seconds(73.8), "73.80 s"), (numbers.seconds(2700), "2,700 s"),
        (numbers.seconds(None), ""), (numbers.share(0.2), "+20.0 %"), (numbers.share(-0.01), "−1.0 %"),
        (numbers.p_value(0.000123), "0.00012"), (numbers.p_value(0.0), "< 1e-99"),
        (numbers.size(17_179_869_184), "17.2 GB"),
        (numbers.span_seconds(1.5, 2.5), "1.500 – 2.500 s"), (numbers.minutes(90), "1.50 min"),
        (numbers.size(999), "999 B"), (numbers.seconds_within(3.66123, 3.44, 3.8824), "3.661 ± 0.221 s"),
        (numbers.seconds_within(2700, 2690, 2710), "2,700 ± 10 s"),
        (numbers.seconds_within(2700, None, None), "2,700 s"),
        (numbers.seconds_within(0.5617, 0.56142, 0.56198), "0.5617 ± 0.0003 s"),
        (numbers.seconds_within(2.0, 2.0, 2.0), "2.000 ± 0.000 s"), (numbers.seconds_within(None, None, None), ""),
    ],
)  # fmt: skip
def test_numbers(found: str, wanted: str) -> None:
    assert found == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (numbers.fixed(3.54321, 2), "3.54"), (numbers.short(2700.4), "2700"), (numbers.short(0.000123456), "0.0001235"),
        (numbers.grouped(2700.4), "2,700"), (numbers.whole(2700.4), "2,700"), (numbers.axis(123456.7), "123457"),
        (numbers.axis(3.54321), "3.543"), (numbers.axis(2.5e9), "2.5e+09"), (numbers.count(1234567), "1,234,567"),
        (numbers.count(None), ""), (numbers.abbreviated(1_234_567), "1.23M"), (numbers.abbreviated(12), "12"),
        (numbers.setting(1234), "1,234"), (numbers.setting(True), "yes"),
        (numbers.setting(()), "none"), (numbers.setting({"a": (1000, None)}), "a 1,000, none"),
        (numbers.setting(0.5), "0.5"),
    ],
)  # fmt: skip
def test_any_value(found: str, wanted: str) -> None:
    assert found == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (numbers.fixed_seconds(2700.1254), "2700.125 s"), (numbers.fixed_seconds(1.25, 0), "1 s"),
        (numbers.grouped_seconds(2700.1254), "2,700.125 s"), (numbers.grouped_seconds(None), ""),
        (numbers.span_seconds(None, 2.5), ""), (numbers.minutes(59), ""), (numbers.hours(1234.5), "1,234"),
        (numbers.hours(0.254), "0.25"), (numbers.megabytes(1_234_560_000), "1,234.6 MB"),
        (numbers.gigabytes(1_234_560_000), "1.23"), (numbers.mebibytes(2**31), "2,048 MiB"),
        (numbers.gibibytes(2**31), "2.0 GiB"), (numbers.gibibytes(2**31, 0), "2 GiB"),
        (numbers.age(-3), "0 s"), (numbers.age(119.4), "119 s"), (numbers.age(120), "2 min"),
        (numbers.age(7200), "2.0 h"), (numbers.age(172_800), "2 days"),
    ],
)  # fmt: skip
def test_times_and_bytes(found: str, wanted: str) -> None:
    assert found == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (numbers.loss(3.27654), "3.2765"), (numbers.loss(3.27654, 5), "3.27654"), (numbers.loss(None), ""),
        (numbers.signed_loss(0.001234), "+0.00123"), (numbers.signed_loss(-0.001234, 4), "-0.0012"),
        (numbers.nats(0.00134), "0.0013 nats"), (numbers.nats(0.00134567, 4), "0.001346 nats"),
        (numbers.plain_p_value(0.000123), "0.00012"), (numbers.plain_p_value(0.0, 3), "0"),
        (numbers.plain_p_value(None), ""), (numbers.tiny(1.23e-6), "1.2e-06"), (numbers.tiny(0.0), "0"),
        (numbers.half_width(3.0, 3.3), "0.15"), (numbers.ratio(0.98765), "0.9877"),
        (numbers.ratio(0.98765, 3), "0.988"),
        (numbers.percent(0.0321), "3.2%"), (numbers.percent(0.8, 0), "80%"), (numbers.signed_percent(0.0321), "+3.2%"),
        (numbers.spaced_percent(0.03214), "3.21 %"), (numbers.short_percent(0.003214), "0.321 %"),
    ],
)  # fmt: skip
def test_losses_and_shares(found: str, wanted: str) -> None:
    assert found == wanted

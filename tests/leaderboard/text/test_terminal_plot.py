"""The curve as text: its size, its ends, its shape."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.text.terminal_plot import BRAILLE, curve, robust_top

numbers = st.integers(-(10**9), 10**9).map(lambda n: n / 1000) | st.just(math.nan)


@given(st.lists(numbers, max_size=60), st.integers(1, 200), st.integers(1, 30))
def test_any_curve_fits(ys: list[float], width: int, height: int) -> None:
    lines = curve(list(range(len(ys))), ys, width, height)
    finite = sum(math.isfinite(y) for y in ys)
    assert len(lines) == (height + 1 if finite >= 2 and height >= 2 else 0)
    assert all(c.isprintable() for line in lines for c in line)
    assert max(map(len, lines), default=0) <= max(width, 10 + 1 + 4 + 9)  # labels, a space, four cells, a long end


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    lines = curve([0, 10], [5.0, 3.0], 40, 6)
    first, last = lines[0], lines[5]
    assert first.startswith("         5 ")
    assert last.startswith("         3 ")
    dots = [[i for i, c in enumerate(line) if ord(c) > BRAILLE] for line in lines[:6]]
    assert all(dots)
    assert [row[0] for row in dots] == sorted(row[0] for row in dots)
    assert lines[6].split() == ["0", "10"]


def test_every_point_between_is_joined() -> None:
    lines = curve([0, 1], [0.0, 1.0], 60, 10)
    columns = {i for line in lines[:10] for i, c in enumerate(line) if ord(c) > BRAILLE}
    assert columns == set(range(min(columns), max(columns) + 1))


@pytest.mark.parametrize(("ys", "top"), [([11.0, 4, 3.5, 3.4, 3.3, 3.29, 3.28], 4.0), ([1.0], 1.0)])
def test_the_first_loss_does_not_flatten_the_rest(ys: list[float], top: float) -> None:
    assert robust_top(ys) == top
    assert math.isnan(robust_top([]))

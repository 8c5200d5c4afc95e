"""Honest submissions that only look odd: none of them is refused, at any sandbox level of this machine."""

from typing import Any

import pytest

from harness.sandbox import levels
from tests.cheats.museum import Exhibit, honest
from tests.cheats.plays import plays
from tests.cheats.test_museum import ending, words

HONEST = honest()


@pytest.mark.parametrize(("exhibit", "level"), plays(HONEST))
def test_an_honest_submission_passes(exhibit: Exhibit, level: str, play: Any) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine")
    outcomes = play(exhibit, level)
    told = words(outcomes)
    detail = f"{told['sentence']}\n{told['record'].get('findings')}\n{told['log'][-2000:]}"
    assert ending(outcomes[-1]) == "reached", detail
    assert [f["id"] for f in told["record"]["findings"] if f["severity"] == "error"] == []
    assert eval(exhibit.holds, {}, told), f"{exhibit.holds} does not hold\n{detail}"


def test_there_are_a_dozen() -> None:
    assert len(HONEST) >= 12
    assert len({exhibit.title for exhibit in HONEST}) == len(HONEST)

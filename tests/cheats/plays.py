"""Which exhibit is played at which sandbox level: a sample in `make test`, more in test-rest, all in test-all."""

from typing import Any

import pytest

from harness.sandbox.levels import LEVELS
from tests.cheats.museum import Exhibit


def plays(exhibits: list[Exhibit], each: int = 1) -> list[Any]:
    """Parameters (exhibit, level).

    The sample of `make test`: the first `each` of every group, the levels taking turns. The longer tests: every
    exhibit at the best level, and wherever it says of a level that it ends otherwise there, and a third of the others;
    an honest one at every level. What is left is marked `every_level`.
    """
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        groups.setdefault(exhibit.group, []).append(exhibit)
    chosen = [exhibit for group in groups.values() for exhibit in group[:each]]
    sample = {exhibit.name: LEVELS[turn % len(LEVELS)] for turn, exhibit in enumerate(chosen)}

    def marks(exhibit: Exhibit, turn: int, level: str) -> list[pytest.MarkDecorator]:
        if sample.get(exhibit.name) == level:
            return []
        said = level == LEVELS[0] or level in exhibit.ends or exhibit.status == "honest"
        more = said or LEVELS[turn % len(LEVELS)] == level
        return [pytest.mark.slow] if more else [pytest.mark.slow, pytest.mark.every_level]

    return [
        pytest.param(exhibit, level, id=f"{level}-{exhibit.name}", marks=marks(exhibit, turn, level))
        for level in LEVELS
        for turn, exhibit in enumerate(exhibits)
    ]

"""Which exhibit is played at which sandbox level: a sample in `make test`, more in test-rest, all in test-all."""

from typing import Any

import pytest

from harness.sandbox.levels import LEVELS
from tests.cheats.museum import Exhibit


def plays(exhibits: list[Exhibit], each: int = 1) -> list[Any]:
    """Parameters (exhibit, level).

    The sample of `make test`: the first `each` of every group, the levels taking turns. The longer tests: every third
    exhibit at the best level, and honest ones at all levels in turn. What is left is marked `exhaustive`.
    """
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        groups.setdefault(exhibit.group, []).append(exhibit)
    chosen = [exhibit for group in groups.values() for exhibit in group[:each]]
    sample = {exhibit.name: LEVELS[turn % len(LEVELS)] for turn, exhibit in enumerate(chosen)}

    def marks(exhibit: Exhibit, turn: int, level: str) -> list[pytest.MarkDecorator]:
        if sample.get(exhibit.name) == level:
            return []
        honest = exhibit.status == "honest"
        more = level == LEVELS[turn % len(LEVELS)] if honest else level == LEVELS[0] and turn % 3 == 0
        return [pytest.mark.slow] if more else [pytest.mark.slow, pytest.mark.exhaustive]

    return [
        pytest.param(exhibit, level, id=f"{level}-{exhibit.name}", marks=marks(exhibit, turn, level))
        for level in LEVELS
        for turn, exhibit in enumerate(exhibits)
    ]

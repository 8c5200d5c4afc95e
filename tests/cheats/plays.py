"""Which exhibit is played at which sandbox level: a sample in `make test`, more in test-rest, all in test-all."""

from typing import Any

import pytest

from harness.sandbox.levels import LEVELS
from tests.cheats.museum import Exhibit


def plays(exhibits: list[Exhibit]) -> list[Any]:
    """Parameters (exhibit, level).

    The sample of `make test`: the first of every group, the levels taking turns. The longer tests: every fifth
    exhibit at the best level, and honest ones at all levels in turn. What is left is marked `exhaustive`.
    """
    first = {exhibit.group: exhibit for exhibit in reversed(exhibits)}
    sample = {first[group].name: LEVELS[turn % len(LEVELS)] for turn, group in enumerate(sorted(first))}

    def marks(exhibit: Exhibit, turn: int, level: str) -> list[pytest.MarkDecorator]:
        if sample.get(exhibit.name) == level:
            return []
        honest = exhibit.status == "honest"
        more = level == LEVELS[turn % len(LEVELS)] if honest else level == LEVELS[0] and turn % 5 == 0
        return [pytest.mark.slow] if more else [pytest.mark.slow, pytest.mark.exhaustive]

    return [
        pytest.param(exhibit, level, id=f"{level}-{exhibit.name}", marks=marks(exhibit, turn, level))
        for level in LEVELS
        for turn, exhibit in enumerate(exhibits)
    ]

"""Which exhibit is played at which sandbox level: a sample in `make test`, all at all levels in the longer tests."""

from typing import Any

import pytest

from harness.sandbox.levels import LEVELS
from tests.cheats.museum import Exhibit


def plays(exhibits: list[Exhibit], each: int = 1) -> list[Any]:
    """Parameters (exhibit, level). The sample: the first `each` of every group, the levels taking turns."""
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        groups.setdefault(exhibit.group, []).append(exhibit)
    chosen = [exhibit for group in groups.values() for exhibit in group[:each]]
    sample = {exhibit.name: LEVELS[turn % len(LEVELS)] for turn, exhibit in enumerate(chosen)}
    return [
        pytest.param(
            exhibit,
            level,
            id=f"{level}-{exhibit.name}",
            marks=[] if sample.get(exhibit.name) == level else [pytest.mark.slow],
        )
        for level in LEVELS
        for exhibit in exhibits
    ]

"""The order of acceptance: which of a track's records came first.

A change of the major rules version opens a new standing: whatever the dates say, all of its records stand after those
of older rules, and only records of one major version follow one another.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Protocol, TypeVar

from ..formats.track import rules_major


class Placed(Protocol):
    """What decides the order of acceptance."""

    @property
    def name(self) -> str: ...
    @property
    def date(self) -> date: ...
    @property
    def predecessors(self) -> frozenset[str]: ...
    @property
    def began_at(self) -> datetime: ...
    @property
    def rules_version(self) -> str: ...


P = TypeVar("P", bound=Placed)


def in_order(records: Sequence[P]) -> list[P]:
    """By acceptance: older major rules first, then by date, within a day after the records they beat or build on,
    then by the campaign's start."""
    generation = _generations(records)
    return sorted(records, key=lambda r: (rules_major(r.rules_version), r.date, generation[r.name], r.began_at, r.name))


def of_major(records: Iterable[P], major: int) -> list[P]:
    """Those made under one major version of the rules, in the order they come in."""
    return [record for record in records if rules_major(record.rules_version) == major]


def _generations(records: Sequence[P]) -> dict[str, int]:
    """One more than the latest of its predecessors; as many as there are records in a circle, and behind one."""
    before: dict[str, set[str]] = {record.name: set() for record in records}
    after: dict[str, list[str]] = {record.name: [] for record in records}
    for record in records:
        before[record.name] = {name for name in record.predecessors if name in before}
        for name in before[record.name]:
            after[name].append(record.name)
    waiting = {name: len(names) for name, names in before.items()}
    generation = dict.fromkeys(before, len(records))
    settled = [name for name, count in waiting.items() if not count]
    for name in settled:  # grows as it goes
        generation[name] = max((generation[earlier] + 1 for earlier in before[name]), default=0)
        for later in after[name]:
            waiting[later] -= 1
            if not waiting[later]:
                settled.append(later)
    return generation

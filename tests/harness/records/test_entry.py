"""Entries are placed in the order of acceptance, however many there are and whatever they claim to build on."""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from harness.records.record import in_order

DAY = date(2026, 1, 2)
START = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Placed:
    """The least that has a place."""

    name: str
    predecessors: frozenset[str] = frozenset()
    date: date = DAY
    began_at: datetime = field(default=START)
    rules_version: str = "1.0"


def names(records: list[Placed]) -> list[str]:
    return [record.name for record in in_order(records)]


def test_within_a_day_a_record_stands_after_those_it_builds_on() -> None:
    late = START + timedelta(hours=9)
    records = [
        Placed("c", frozenset({"b"})),
        Placed("b", frozenset({"a", "unknown"})),
        Placed("a", began_at=late),
        Placed("early", began_at=START - timedelta(hours=1)),
        Placed("before", date=DAY - timedelta(days=1)),
    ]
    assert names(records) == ["before", "early", "a", "b", "c"]


def test_circles_end_and_stand_last_whatever_the_order_they_come_in() -> None:
    records = [
        Placed("a"), Placed("b", frozenset({"a"})), Placed("x", frozenset({"y"})), Placed("y", frozenset({"x"})),
        Placed("self", frozenset({"self"})), Placed("behind", frozenset({"x"})),
    ]  # fmt: skip
    expected = ["a", "b", "behind", "self", "x", "y"]
    for seed in range(10):
        random.Random(seed).shuffle(records)
        assert names(records) == expected


def test_a_chain_of_thousands_of_records_of_one_day_is_in_order() -> None:
    chain = [Placed(f"{i:05}", frozenset({f"{i - 1:05}"}), began_at=START - timedelta(seconds=i)) for i in range(5000)]
    shuffled = random.Random(1).sample(chain, len(chain))
    assert in_order(shuffled) == chain


def test_older_major_rules_stand_before_newer_ones_whatever_the_dates_say() -> None:
    records = [
        Placed("early", rules_version="10.0", date=DAY - timedelta(days=9)),
        Placed("late", rules_version="9.7", date=DAY),
        Placed("first", rules_version="9.12", date=DAY - timedelta(days=1)),
        Placed("next", frozenset({"late"}), rules_version="10.3"),
    ]
    for seed in range(10):
        random.Random(seed).shuffle(records)
        assert names(records) == ["first", "late", "early", "next"]

"""Filters: which rows of a board somebody wants to see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from harness.errors import UserError
from harness.records.standings import Standing

TIERS = ("reported", "refereed", "reproduced")  # each says more than the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """None: not asked for."""

    tier: str | None = None  # at least this one
    author: str | None = None  # part of a name
    technique: str | None = None  # part of a slug
    since: date | None = None

    @property
    def sentence(self) -> str:
        """What was asked for, in words; empty where nothing was."""
        parts = [
            f"tier {self.tier} or better" if self.tier else "",
            f"author {self.author!r}" if self.author else "",
            f"technique {self.technique!r}" if self.technique else "",
            f"since {self.since}" if self.since else "",
        ]
        return ", ".join(part for part in parts if part)

    def keep(self, row: Standing) -> bool:
        """Local runs have no authors and no techniques; their tier is their own."""
        return (
            (self.tier is None or _at_least(row.tier, self.tier))
            and (self.author is None or _names(row.authors, self.author))
            and (self.technique is None or _names(row.techniques, self.technique))
            and (self.since is None or row.date >= self.since)
        )


def parse_filters(tier: str | None, author: str | None, technique: str | None, since: str | None) -> Filters:
    """Raises UserError with what was expected."""
    if tier is not None and tier not in (*TIERS, "local"):
        raise UserError(f"expected --tier {', '.join(TIERS)} or local, found {tier!r}")
    for name, value in (("--author", author), ("--technique", technique)):
        if value is not None and not value.strip():
            raise UserError(f"expected a part of a name after {name}, found nothing")
    try:
        day = None if since is None else date.fromisoformat(since)
    except ValueError as error:
        raise UserError(f"expected --since with a date like 2026-11-22, found {since!r}") from error
    return Filters(tier=tier, author=author, technique=technique, since=day)


def suggestion(filters: Filters, rows: Sequence[Standing]) -> str:
    """What could have been asked for instead of a name that no row has; empty where every name is somebody's."""
    for name, wanted, known in (
        ("techniques", filters.technique, sorted({one for row in rows for one in row.techniques})),
        ("authors", filters.author, sorted({one for row in rows for one in row.authors})),
    ):
        if wanted is not None and not _names(known, wanted):
            return f"{name} here: {', '.join(known[:24]) or 'none'}" + (", ..." if len(known) > 24 else "")
    return ""


def _at_least(tier: str, wanted: str) -> bool:
    if wanted == "local" or tier not in TIERS:
        return tier == wanted
    return TIERS.index(tier) >= TIERS.index(wanted)


def _names(found: Sequence[str], wanted: str) -> bool:
    return any(wanted.strip().casefold() in name.casefold() for name in found)

"""Merges: when a record came into the repository, which is not the date its table gives it.

Read from the checkout's own history, along its main line: the commit that names the pull request; else the first one
that had the linked log, whatever it was called then; else the middle one of those that first had the folder's logs, as
folders were renamed and some logs are copies of older ones. A history that is cut short says nothing.
"""

import re
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from .checkout import Checkout
from .groups import README, record_folder

MAX_SECONDS = 2**33  # the year 2242
_NAMED = re.compile(r"\(#(\d{1,7})\)\s*\Z|\AMerge pull request #(\d{1,7})\b")


@dataclass(frozen=True, slots=True)
class Merges:
    """Days (UTC): of pull requests and of objects the first one, and the objects that each folder ever got."""

    by_request: dict[int, date] = field(default_factory=dict)
    by_object: dict[str, date] = field(default_factory=dict)
    by_path: dict[str, str] = field(default_factory=dict)  # the last object
    by_folder: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def day_of(self, request: int | None, link: str | None, folder: str | None = None) -> date | None:
        """Of a record by its pull request, what its table links, or its folder. None where the history does not say."""
        if request is not None and (named := self.by_request.get(request)):
            return named
        return self._of(link) or self._of(folder)

    def _of(self, path: str | None) -> date | None:
        if not path:
            return None
        if (linked := self.by_path.get(path)) and not path.endswith(README):
            return self.by_object[linked]
        days = [self.by_object[one] for one in self.by_folder.get(record_folder(path), ())]
        return date.fromordinal(statistics.median_low(day.toordinal() for day in days)) if days else None


def read_merges(checkout: Checkout) -> Merges:
    """Everything the main line says."""
    merges, day, added = Merges(), None, ""
    for raw in checkout.first_parents().split(b"\0"):
        text = raw.strip(b"\n").decode(errors="replace")
        if text.startswith("\x01"):
            seconds, _, subject = text[1:].partition(" ")
            day = day_of(int(seconds)) if seconds.isdigit() else None
            match = _NAMED.search(subject)
            if match and day:
                merges.by_request[int(match[1] or match[2])] = day  # newest first: the oldest stays
        elif text.startswith(":"):
            added = (text.split(" ") + [""] * 4)[3]
        elif day and added and text.startswith("records/"):
            merges.by_object[added] = day
            merges.by_path.setdefault(text, added)
            merges.by_folder[record_folder(text)].add(added)
    return merges


def day_of(seconds: int) -> date | None:
    """None for a time that no repository has."""
    return datetime.fromtimestamp(seconds, UTC).date() if 0 < seconds < MAX_SECONDS else None

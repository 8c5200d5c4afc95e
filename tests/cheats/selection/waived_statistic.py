"""A statistic waived.

The same, with a waiver and a good reason. No statistic is ever waived.

group: selection
catalogue: 54, 56
status: caught
ends: finding waiver_refused
"""


def forge(desk):
    bundle = desk.bundle("bundle", candidate_losses=(5.9, 6.2, 5.8, 6.05))
    return [
        "submit",
        bundle,
        "--title",
        "Best",
        "--author",
        "Eve",
        "--date",
        "2026-01-03",
        "--dry-run",
        "--json",
        "--waive",
        "significance=it is really very nearly there",
    ]

"""A race without an opponent.

Shows fine times of its own, measured on a machine where nobody knows how fast the record would be.

group: selection
catalogue: 54, 25
status: caught
ends: finding faster_than_parent
"""


def forge(desk):
    desk.record(desk.bundle("first"))
    bundle = desk.bundle("bundle", candidate_times=(1.5, 1.51, 1.49, 1.52))
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

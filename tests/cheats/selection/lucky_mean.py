"""A mean that is below by luck.

Four runs around the target, of which the mean happens to be below it.

group: selection
catalogue: 49, 54
status: caught
ends: finding significance
"""


def forge(desk):
    bundle = desk.bundle("bundle", candidate_losses=(5.9, 6.2, 5.8, 6.05))
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

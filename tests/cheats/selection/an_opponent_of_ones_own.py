"""An opponent of one's own choice.

Races against a home-made baseline that is slower than the record that stands.

group: selection
catalogue: 55
status: caught
ends: finding baseline_is_reigning
"""

FAST, SLOW = (1.5, 1.51, 1.49, 1.52), (2.0, 2.01, 1.99, 2.02)


def forge(desk):
    desk.record(desk.bundle("first", candidate_times=FAST))
    bundle = desk.bundle("bundle", candidate_times=(1.8, 1.81, 1.79, 1.82), baseline_times=SLOW)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

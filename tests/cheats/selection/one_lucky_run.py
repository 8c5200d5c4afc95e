"""One lucky run.

A single run below the target, called an experiment.

group: selection
catalogue: 12, 49
status: caught
ends: finding min_runs | finding degenerate_sample
"""


def forge(desk):
    bundle = desk.bundle("bundle", candidate_times=(2.0,), candidate_losses=(5.0,))
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

"""A seed of one's own.

Searches for a seed that does well, and runs with that one. Seeds come from the harness; a run that was given its seed
says so.

group: selection
catalogue: 49
status: caught
ends: finding user_seed | finding run_edited
"""


def chosen(run, slot):
    return run.model_copy(update={"seed_source": "user"})


def forge(desk):
    bundle = desk.bundle("bundle", change=chosen)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

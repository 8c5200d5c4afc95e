"""One seed, many times.

Repeats its best seed and presents the runs as independent. The plan drew another seed for every slot.

group: selection
catalogue: 49, 50
status: caught
ends: finding run_edited | finding repeated_seed
"""


def repeated(run, slot):
    return run.model_copy(update={"seed": 42})


def forge(desk):
    bundle = desk.bundle("bundle", change=repeated)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

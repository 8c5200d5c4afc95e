"""Runs of development, reported as the campaign.

Twelve runs were made while the script was tuned; the four best become "the campaign", under a plan written afterwards
that lists just their seeds. Seeds follow from the plan's own entropy and stand in the ledger before the first run: four
that were picked are not those.

group: selection
catalogue: 49, 51
status: caught
ends: finding run_edited | finding user_seed
"""

DEVELOPED = (11, 58, 1077, 40_012)


def picked(run, slot):
    return run.model_copy(update={"seed": DEVELOPED[slot.index % len(DEVELOPED)]})


def forge(desk):
    bundle = desk.bundle("bundle", change=picked)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

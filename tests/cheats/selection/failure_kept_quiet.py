"""A failure kept quiet.

Leaves a failed run in the campaign, but hopes that the mean is taken over the runs that went well.

group: selection
catalogue: 51, 41
status: caught
ends: finding failed_run
"""

from harness.status import Status


def crashed(run, slot):
    if slot.index != 2:
        return run
    return run.model_copy(update={"status": Status.TRAIN_FAILED, "score": None, "weights": None})


def forge(desk):
    bundle = desk.bundle("bundle", change=crashed)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

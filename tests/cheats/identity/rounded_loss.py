"""A loss better than its sums.

Writes a lower val_loss into a run and rebuilds every digest; the losses of the windows still add up to the old one.

group: identity
catalogue: 43, 58
status: caught
ends: finding run_edited
"""


def better(run, slot):
    return run.model_copy(update={"score": run.score.model_copy(update={"val_loss": 4.99})})


def forge(desk):
    return ["verify", desk.bundle("bundle", change=better), "--json"]

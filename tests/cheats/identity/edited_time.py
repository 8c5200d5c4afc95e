"""A time edited, and every digest with it.

Shortens the training time where it is shown and lets the harness hash the result. The phases are differences of
stamps, and the stamps say otherwise.

group: identity
catalogue: 14, 58
status: caught
ends: finding run_edited
"""


def shorter(run, slot):
    return run.model_copy(update={"phases": run.phases.model_copy(update={"train_ns": 10**8})})


def forge(desk):
    return ["verify", desk.bundle("bundle", change=shorter), "--json"]

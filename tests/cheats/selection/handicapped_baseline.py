"""A baseline on a slower machine.

Runs its own arm on new hardware and the baseline's on old. Runs join only if they are alike.

group: selection
catalogue: 25, 55
status: caught
ends: finding not_alike
"""


def elsewhere(run, slot):
    if slot.arm == "candidate":
        return run
    return run.model_copy(update={"environment": run.environment.model_copy(update={"cpu_model": "Old CPU"})})


def forge(desk):
    bundle = desk.bundle(
        "bundle", candidate_times=(1.5, 1.51, 1.49, 1.52), baseline_times=(2.0, 2.01, 1.99, 2.02), change=elsewhere
    )
    return ["verify", bundle, "--json"]

"""Equal weights from different seeds.

The seed is ignored: the weights come from the source or from an earlier run, and every run ends with the same ones.

group: selection
catalogue: 18, 50
status: caught
ends: finding equal_weights
"""


def same(run, slot):
    return run.model_copy(update={"weights": run.weights.model_copy(update={"sha256": "ab" * 32})})


def forge(desk):
    bundle = desk.bundle("bundle", change=same)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

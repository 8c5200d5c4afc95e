""" "Systems only".

Claims that nothing but speed has changed, so that its loss, which is worse, need not be tested.

group: selection
catalogue: 56
status: caught
ends: finding equal_loss
"""

from pathlib import Path

SOURCE = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}


def forge(desk):
    first = desk.record(desk.bundle("first", sources={"candidate": SOURCE}))
    bundle = desk.bundle(
        "bundle",
        candidate_times=(1.5, 1.51, 1.49, 1.52),
        baseline_times=(2.0, 2.01, 1.99, 2.02),
        candidate_losses=(5.51, 5.52, 5.5, 5.53),
        baseline_losses=(5.01, 5.02, 5.0, 5.03),
        baseline_record=Path(first).name,
        sources={"candidate": {"train_gpt.py": SOURCE["train_gpt.py"] + "NEW = 1\n"}, "baseline": SOURCE},
    )
    return [
        "submit",
        bundle,
        "--title",
        "Best",
        "--author",
        "Eve",
        "--date",
        "2026-01-03",
        "--dry-run",
        "--json",
        "--claim",
        "systems",
    ]

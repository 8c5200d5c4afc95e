"""Noise sold as progress.

The reigning submission, resubmitted with a comment more; a lucky mean is a thousandth faster.

group: selection
catalogue: 54
status: caught
ends: finding faster_than_parent
"""

from pathlib import Path

SOURCE = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}


def forge(desk):
    first = desk.record(desk.bundle("first", sources={"candidate": SOURCE}))
    bundle = desk.bundle(
        "bundle",
        candidate_times=(2.0, 2.01, 1.98, 2.02),
        baseline_times=(2.01, 2.0, 2.0, 2.01),
        baseline_record=Path(first).name,
        sources={"candidate": {"train_gpt.py": SOURCE["train_gpt.py"] + "# faster\n"}, "baseline": SOURCE},
    )
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

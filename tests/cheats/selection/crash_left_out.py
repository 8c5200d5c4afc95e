"""A crash left out.

Deletes the run that failed and the two lines of the ledger that tell of it.

group: selection
catalogue: 51, 58
status: caught
ends: finding ledger_chain
"""

import shutil

from harness.status import Status


def crashed(run, slot):
    if slot.index != 2:
        return run
    return run.model_copy(update={"status": Status.TRAIN_FAILED, "score": None, "weights": None})


def forge(desk):
    bundle = desk.bundle("bundle", change=crashed)
    lines = (bundle / "ledger.jsonl").read_text().splitlines(keepends=True)
    shutil.rmtree(sorted((bundle / "runs").iterdir())[2])
    (bundle / "ledger.jsonl").write_text("".join(lines[:5] + lines[7:]))
    return ["verify", bundle, "--json"]

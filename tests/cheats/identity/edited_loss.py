"""A loss edited in the record.

Changes one digit of a val_loss, and nothing else.

group: identity
catalogue: 58
status: caught
ends: finding run_digest
"""

import re


def forge(desk):
    bundle = desk.bundle("bundle")
    run = sorted(bundle.glob("runs/*/run.json"))[0]
    run.write_text(re.sub(r'"val_loss": ?[0-9.]+', '"val_loss": 4.2', run.read_text()))
    return ["verify", bundle, "--json"]

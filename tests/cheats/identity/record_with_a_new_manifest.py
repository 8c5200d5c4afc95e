"""A record edited, manifest and all.

Edits a run of a finished record and writes a new manifest over everything.

group: identity
catalogue: 58
status: caught
ends: finding run_digest
"""

import re

from harness.records.manifest import write_manifest
from harness.records.verification import NOT_IN_MANIFEST


def forge(desk):
    record = desk.record(desk.bundle("bundle"))
    run = sorted(record.glob("runs/*/run.json"))[0]
    run.write_text(re.sub(r'"val_loss": ?[0-9.]+', '"val_loss": 4.2', run.read_text()))
    write_manifest(record, None, NOT_IN_MANIFEST)
    return ["verify", record, "--json"]

"""A verdict of one's own.

Writes a better mean into the verdict of a record, and a new manifest. The verdict is derived again from the runs.

group: identity
catalogue: 58
status: caught
ends: finding verdict_differs
"""

from harness.records.manifest import write_manifest
from harness.records.verification import NOT_IN_MANIFEST


def forge(desk):
    record = desk.record(desk.bundle("bundle"))
    verdict = (record / "verdict.json").read_text()
    assert "5.015" in verdict
    (record / "verdict.json").write_text(verdict.replace("5.015", "4.015"))
    write_manifest(record, None, NOT_IN_MANIFEST)
    return ["verify", record, "--json"]

"""A record signed anew.

Edits a signed record, writes a new manifest, and signs it with a key of its own.

group: identity
catalogue: 58, 65
status: caught
ends: finding signature
"""

from harness.records.manifest import write_manifest
from harness.records.signing import fingerprint_of_key, sign
from harness.records.verification import NOT_IN_MANIFEST


def forge(desk):
    ada, eve = desk.key("ada"), desk.key("eve")
    (desk.contest / "allowed_signers").write_text(f"ada {ada.with_suffix('.pub').read_text()}")
    record = desk.record(desk.bundle("bundle"), key=ada)
    (record / "manifest.json.sig").unlink()
    write_manifest(record, fingerprint_of_key(eve), NOT_IN_MANIFEST)
    sign(record / "manifest.json", eve)
    return ["verify", record, "--json"]

"""A manifest of no bytes.

Empties the manifest, so that nothing is listed and nothing can differ.

group: identity
catalogue: 58, 64
status: caught
ends: finding manifest_unreadable
"""


def forge(desk):
    record = desk.record(desk.bundle("bundle"))
    (record / "manifest.json").write_bytes(b"")
    return ["verify", record, "--json"]

"""A record of the old form.

Takes manifest and ledger away, so that the record looks as records did before there were any.

group: identity
catalogue: 58, 64
status: caught
ends: finding unreadable
"""


def forge(desk):
    record = desk.record(desk.bundle("bundle"))
    (record / "manifest.json").unlink()
    (record / "ledger.jsonl").unlink()
    return ["verify", record, "--json"]

"""Stopped while ahead.

Looks after every run and stops when the mean is good. A campaign with slots still empty is not closed.

group: selection
catalogue: 51, 52
status: caught
ends: finding ledger_truncated | finding not_closed
"""


def forge(desk):
    bundle = desk.bundle("bundle")
    lines = (bundle / "ledger.jsonl").read_text().splitlines(keepends=True)
    (bundle / "ledger.jsonl").write_text("".join(lines[:-3]))
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

"""A title for the terminal.

Titles its record with escape sequences that rename the reader's window and clear his screen.

group: identity
catalogue: 58, 67
status: caught
ends: refused
holds: "\\x1b]" not in stdout + stderr and "\\x07" not in stdout + stderr
"""


def forge(desk):
    bundle = desk.bundle("bundle")
    return ["submit", bundle, "--title", "\x1b]0;owned\x07\x1b[2JBest", "--author", "Eve", "--dry-run"]

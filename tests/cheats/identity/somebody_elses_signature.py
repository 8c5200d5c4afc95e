"""A signature by another key.

Signs the record with a key the track does not know, in the name of somebody it does.

group: identity
catalogue: 65
status: caught
ends: refused
holds: "signed by an unknown key" in stdout
"""


def forge(desk):
    ada, eve = desk.key("ada"), desk.key("eve")
    (desk.contest / "allowed_signers").write_text(f"ada {ada.with_suffix('.pub').read_text()}")
    bundle = desk.bundle("bundle")
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--json", "--key", eve]

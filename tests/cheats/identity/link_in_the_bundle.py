"""A link in the bundle.

Puts a link to a file of the reader's machine in the place of a source file.

group: identity
catalogue: 32, 66
status: caught
ends: finding source_digest
"""


def forge(desk):
    bundle = desk.bundle("bundle")
    source = bundle / "candidate" / "train_gpt.py"
    source.unlink()
    source.symlink_to("/etc/passwd")
    return ["verify", bundle, "--json"]

"""A file name that speaks.

Names a file of the submission with a line break and an escape sequence, for logs and terminals to trip over.

group: identity
catalogue: 58, 66
status: caught
ends: refused
holds: "\x1b" not in stderr.replace("\x1b[", "")
"""


def before(script, data):
    folder = script.parent / "hostile"
    folder.mkdir()
    (folder / "train_gpt.py").write_text("def train(run): ...\ndef load(weights, device): ...\n")
    (folder / "a\n\x1b]0;owned\x07.py").write_text("")
    return folder

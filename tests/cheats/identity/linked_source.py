"""A link among the source.

Hands in a folder whose script is a plain file and whose data file is a link to the validation shard.

group: identity
catalogue: 32, 61
status: caught
ends: refused
"""


def before(script, data):
    folder = script.parent / "linked"
    folder.mkdir()
    (folder / "train_gpt.py").write_text("def train(run): ...\ndef load(weights, device): ...\n")
    (folder / "numbers.bin").symlink_to(next(data.glob("*val*.bin")))
    return folder

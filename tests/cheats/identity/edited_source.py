"""Another source than the one that ran.

Tidies the submitted source up after the runs.

group: identity
catalogue: 61, 58
status: caught
ends: finding source_digest
"""


def forge(desk):
    bundle = desk.bundle("bundle")
    (bundle / "candidate" / "train_gpt.py").write_text("def train(run): pass\ndef load(weights, device): pass\n")
    return ["verify", bundle, "--json"]

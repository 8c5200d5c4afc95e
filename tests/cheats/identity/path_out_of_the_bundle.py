"""A path that leads out.

Names ../../../etc/passwd among the files of its source, for whoever copies or hashes them.

group: identity
catalogue: 66, 61
status: caught
ends: finding unreadable | finding source_digest | finding ledger_chain | finding run_edited
"""

from harness.campaigns.bundle import read_bundle


def forge(desk):
    bundle = desk.bundle("bundle")
    text = (bundle / "ledger.jsonl").read_text()
    assert read_bundle(bundle).plan.arms[0].submission.entry == "train_gpt.py"
    (bundle / "ledger.jsonl").write_text(text.replace('"train_gpt.py":', '"../../../../../../etc/passwd":'))
    return ["verify", bundle, "--json"]

"""The better of two campaigns.

Runs a whole campaign, does not like it, and runs another. A bundle proves one campaign; what its owner threw away
unseen, nobody can know. A reproduction by somebody else counts for more, and its tier says so.

group: selection
catalogue: 51, 53
status: not covered
ends: accepted
"""

import shutil


def forge(desk):
    shutil.rmtree(desk.bundle("first", candidate_losses=(6.01, 6.02, 6.0, 6.03)))
    return ["verify", desk.bundle("second"), "--json"]

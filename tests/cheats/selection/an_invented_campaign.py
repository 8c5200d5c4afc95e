"""A campaign that nobody ran.

Writes a whole ledger, its chain and every run by itself, with the harness's own writers, as the owner of a machine
can. Against that stands only somebody else's reproduction, signed with another key.

group: selection
catalogue: 58, 65
status: not covered
ends: accepted
"""


def forge(desk):
    return ["verify", desk.record(desk.bundle("invented", candidate_times=(0.1, 0.11, 0.12, 0.1))), "--json"]

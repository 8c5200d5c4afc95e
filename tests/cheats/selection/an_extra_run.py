"""One run more.

Adds a better run to a campaign whose runs were fixed before it began.

group: selection
catalogue: 51, 12
status: caught
ends: finding run_extra
"""

import shutil


def forge(desk):
    bundle, other = desk.bundle("bundle"), desk.bundle("other", seed=1)
    shutil.copytree(next((other / "runs").iterdir()), bundle / "runs" / "2026-01-02T09-09-09Z-0000ff")
    return ["verify", bundle, "--json"]

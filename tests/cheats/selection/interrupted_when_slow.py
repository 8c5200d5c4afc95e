"""Interrupted when slow.

Interrupts every run that looks slow; what was interrupted is repeated and does not count. A campaign bears only so
much bad luck.

group: selection
catalogue: 51, 24
status: caught
ends: finding uncounted_attempts
"""

from harness.formats.run import Stamps
from harness.status import Status


def after_go(run, slot):
    if run.status != Status.INTERRUPTED:
        return run
    return run.model_copy(update={"stamps": Stamps(start_ns=1, go_ns=2, stop_ns=None, dead_ns=3)})


def forge(desk):
    desk.rules(uncounted_share=0.2)
    bundle = desk.bundle("bundle", uncounted={0: [Status.INTERRUPTED] * 3, 2: [Status.INTERRUPTED]}, change=after_go)
    return ["submit", bundle, "--title", "Best", "--author", "Eve", "--date", "2026-01-03", "--dry-run", "--json"]

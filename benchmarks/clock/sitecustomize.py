"""Read by every Python that finds this folder, that inside R too: the harness' events tell the processor's time.

Without what its checks took, which are no part of a step: weights compared before and after some of them.
"""

import sys
import time

from harness import document

event, aside, looked_after = document.event, [0.0], []


def look_after(checks):
    """Have the checks tell their time, once they are imported: NumPy must not be before its threads are counted."""
    inner = checks.Checks._aside

    def timed(self, function):
        started = time.process_time()
        try:
            return inner(self, function)
        finally:
            aside[0] += time.process_time() - started

    checks.Checks._aside = timed
    looked_after.append(checks)


def with_time(kind, **fields):
    """An event with the processor time so far."""
    if not looked_after and "harness.checks" in sys.modules:
        look_after(sys.modules["harness.checks"])
    event(kind, cpu=time.process_time() - aside[0], **fields)


document.event = with_time

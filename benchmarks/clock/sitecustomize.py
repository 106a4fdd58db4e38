"""Read by every Python that finds this folder, that inside R too: the harness' events tell the processor's time.

Without what is no part of a step: weights read and compared before and after some of them, and the model tested after
each epoch.
"""

import sys
import time

from harness import document

event, aside, looked_after = document.event, [0.0], []


def look_after(owner, name):
    """Have a method tell its time, once it is imported: NumPy must not be before its threads are counted."""
    inner = getattr(owner, name)

    def timed(self, *arguments):
        started = time.process_time()
        try:
            return inner(self, *arguments)
        finally:
            aside[0] += time.process_time() - started

    setattr(owner, name, timed)
    looked_after.append(name)


def with_time(kind, **fields):
    """An event with the processor time so far."""
    if not looked_after and "harness.cell" in sys.modules:
        look_after(sys.modules["harness.checks"].Checks, "_aside")
        look_after(sys.modules["harness.checks"].Checks, "_read_twice")
        look_after(sys.modules["harness.cell"].Cell, "_tested_aside")
    event(kind, cpu=time.process_time() - aside[0], **fields)


document.event = with_time

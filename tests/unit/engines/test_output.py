"""What a cell that left no document is said to have failed of."""

import pytest

from orchestrator.engines.output import failure

CNTK = """Traceback (most recent call last):
  File "/workloads/rnn/cntk.py", line 11, in <module>
    C.device.try_set_default_device(C.device.gpu(0) if cell.gpus else C.device.cpu())
ValueError: Specified GPU device id (0) is invalid.

[CALL STACK]
[0x7f1c2a6b7d6e]    CNTK::DeviceDescriptor::GPUDevice (unsigned int)   + 0x3e
[0x560bce7d12d1]    _start                                             + 0x21
"""


@pytest.mark.parametrize(
    ("log", "code", "reason"),
    [
        (CNTK, 1, "exit code 1: ValueError: Specified GPU device id (0) is invalid."),
        ('a loader has died\n{"event": "epoch"}\n\n', 1, "exit code 1: a loader has died"),
        ("[0x7f1c2a6b7d6e] frame\n", 139, "exit code 139"),
        ("", 0, "left no result although it ended with exit code 0"),
    ],
)
def test_the_reason_is_the_last_thing_that_means_something(log, code, reason):
    assert failure(log, code).reason == reason

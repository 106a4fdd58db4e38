"""What a cell that left no document is said to have failed of."""

import pytest

from orchestrator.engines.output import LOG_HEAD, LOG_TAIL, STDERR, Output, failure

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
        ("\x1b[31mValueError: bad\x1b[0m\n-----\n\x1b[0m\n\0\n", 1, "exit code 1: ValueError: bad"),
        (f"{'x' * 279} https://user:secret@host/", 1, f"exit code 1: {'x' * 279} https://***@host/"[: 300 + 13]),
        ("", 0, "left no result although it ended with exit code 0"),
    ],
)
def test_the_reason_is_the_last_thing_that_means_something(log, code, reason):
    assert failure(log, code).reason == reason


def test_the_beginning_of_a_huge_line_is_the_reason():
    output = Output(print)
    for chunk in (b"warning\nValueError: ", *8 * [b"x" * 9000], b"\nlast words"):
        output.feed(chunk, STDERR)
    log = output.close()
    assert log.count("x") == 72000
    assert failure(log, 1, output.errors).reason == "exit code 1: last words"
    told = output.errors.removesuffix("last words\n")
    assert failure(log, 1, told).reason.startswith("exit code 1: ValueError: xxx")


def test_a_log_that_was_just_cut_says_so():
    output = Output(print)
    for _ in range((LOG_HEAD + 2 * LOG_TAIL) // 1024 + 1):
        output.feed(b"x" * 1023 + b"\n")
    assert "[... cut ...]" in output.close()


def test_a_line_of_megabytes_is_cut_wherever_it_ends():
    output = Output(lambda event: None)
    for _ in range(30):
        output.feed(b"x" * 3_000_000 + b"\n")
    assert len(output.close()) < 2 * (LOG_HEAD + LOG_TAIL)

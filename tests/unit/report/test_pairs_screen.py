"""What a person reads of a comparison by interleaved rounds."""

import io

from rich.console import Console

from orchestrator.compare.pairs import Clock, Found, Verdict
from orchestrator.report import pairs

SURE = Found(
    "pytorch/rnn/cpu – jax/rnn/cpu",
    Verdict.SLOWER,
    8,
    0.05,
    Clock.PROCESSOR,
    seconds=(10.0, 12.0),
    ratio=1.2,
    interval=(1.1, 1.3),
    ratios={"wall": 1.4, "processor": 1.2},
    reasons=("the load per core was 1.5 to 3.0",),
)
OPEN = Found("mxnet/cnn/cpu\x1b[2J", Verdict.UNSURE, 4, 0.05, seconds=(9.0, 9.1), ratio=1.01, needed=8)
HOPELESS = Found("gluon/cnn/cpu", Verdict.UNSURE, 4, 0.05, seconds=(9.0, 9.1), ratio=1.01)
SAME = Found("paddle/cnn/cpu", Verdict.SAME, 8, 0.05, seconds=(9.0, 9.0), ratio=1.0, interval=(0.97, 1.04))
BROKEN = Found("cntk/cnn/cpu", Verdict.FAILED, 0, 0.05, reasons=("cntk/cnn/cpu, round 0: failed: exit code 1",))


def shown(*found: Found) -> str:
    out = io.StringIO()
    pairs.show(found, ("old", "new"), Console(file=out, width=160))
    return out.getvalue()


def test_each_verdict_stands_beside_its_numbers():
    lines = shown(SURE, OPEN, HOPELESS, SAME, BROKEN).splitlines()
    told = {name: next(line for line in lines if name in line) for name in ("jax", "mxnet", "gluon", "paddle", "cntk")}
    assert told["jax"].split()[3:] == ["10", "s", "12", "s", "1.200", "(1.10–1.30)", "8", "slower"]
    assert told["mxnet"].rstrip().endswith("can't tell: needs 8 more rounds")
    assert told["gluon"].rstrip().endswith("can't tell: needs over 60 more rounds")
    assert told["paddle"].rstrip().endswith("no difference above 5 %")
    assert told["cntk"].split() == ["cntk/cnn/cpu", "0", "failed"]


def test_below_stand_the_other_clock_the_load_and_why_a_run_failed():
    said = shown(SURE, OPEN, BROKEN)
    assert "by the clock B ÷ A is 1.400" in said
    assert "compared by processor time" in said
    assert "the load per core was 1.5 to 3.0" in said
    assert "round 0: failed: exit code 1" in said
    assert "B: new" in said
    assert "\x1b" not in said

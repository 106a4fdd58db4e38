"""Documents and outputs of containers are not trusted: what is not as declared is refused with its place."""

import json

import pytest

from orchestrator.cell import contract
from orchestrator.cell.cell import Cell
from orchestrator.cell.events import Epoch
from orchestrator.engines.output import LOG_HEAD, LOG_TAIL, STDERR, Output, failure
from orchestrator.errors import ResultError

DOCUMENT = {
    "contract": 1, "library": "pytorch", "workload": "rnn", "platform": "cpu", "precision": "fp32",
    "variant": "reference", "data": "synthetic", "seed": 0, "n_gpus": 0, "epochs": 2, "samples": 1280, "steps": 40,
    "samples_tested": 1280, "shortened": True, "metric": "accuracy", "quality": 0.98, "seconds": 5.0,
    "seconds_warm": 4.9, "phases": {"import": 1.0, "train": 5.1}, "epoch_seconds": [2.5, 2.5],
    "epoch_losses": [0.6, 0.2], "peak_memory": 500_000_000,
    "versions": {"framework": "2.13.0", "cuda": None, "cudnn": None, "packages": {}},
    "environment": {"os": "Debian", "kernel": "6", "python": "3.11.7", "numpy": "2.3.5", "cpu": "EPYC", "cores": 2,
                    "memory": 25_000_000_000, "gpus": []},
}  # fmt: skip


def raw(**changes) -> bytes:
    return json.dumps({**DOCUMENT, **changes}).encode()


def test_a_valid_document_is_read():
    document = contract.parse(raw(), "here")
    assert (document.library, document.quality, document.environment.cores) == ("pytorch", 0.98, 2)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (raw()[:-20], "not a valid result"),
        (b"", "not a valid result"),
        (raw(contract=3), "contract version 3"),
        (raw(quality=1.5), "quality"),
        (raw(seconds="5"), "seconds"),
        (raw(seconds=-1), "seconds"),
        (raw(extra=1), "extra"),
        (raw(epoch_losses=[float("nan")]), "epoch_losses"),
        (raw(library="x" * 600), "library"),
        (raw(steps=0), "steps"),
        (raw(samples=2**63), "samples"),
        (raw(seed=-(2**63) - 1), "seed"),
        (raw(environment={**DOCUMENT["environment"], "memory": 2**63}), "environment.memory"),
        (b" " * (contract.LARGEST_DOCUMENT + 1), "more than"),
    ],
)
def test_anything_else_is_refused_with_its_place(document, said):
    with pytest.raises(ResultError, match=said):
        contract.parse(document, "here")


def test_arguments_are_what_a_person_would_type():
    words = contract.arguments(Cell("pytorch", "rnn", data="synthetic", repeat=3, epochs=2))
    assert " ".join(words) == "pytorch rnn --epochs 2 --data synthetic --seed 3 --precision fp32 --variant reference"


def test_events_are_found_however_the_stream_is_cut():
    seen = []
    output = Output(seen.append)
    event = b'{"event": "epoch", "epoch": 1, "epochs": 2, "loss": 0.5, "new": []}'
    stream = b"noise\n" + event + b'\n{"event": "epoch"}\n{"event": 3}\n{"event" broken\nlast words'
    for byte in range(len(stream)):
        output.feed(stream[byte : byte + 1])
    assert output.close().endswith("last words\n")
    assert seen == [Epoch(event="epoch", epoch=1, epochs=2, loss=0.5)]


def test_an_error_is_the_reason_though_the_other_pipe_arrives_after_it():
    seen = []
    output = Output(seen.append)
    output.feed(b'{"event": "epoch", "epoch": 1, "epo')
    output.feed(b"Traceback ...\nValueError: no such layer\n", STDERR)
    output.feed(b'chs": 2, "loss": 0.5, "new": []}\nxxx\n')
    log = output.close()
    assert seen == [Epoch(event="epoch", epoch=1, epochs=2, loss=0.5)]
    assert log.endswith("xxx\n")
    assert failure(log, 1, output.errors).reason == "exit code 1: ValueError: no such layer"
    assert failure(log, 1).reason == "exit code 1: xxx"


def test_endless_output_is_cut_in_the_middle():
    output = Output(lambda event: None)
    output.feed(b"first\n")
    for number in range(20_000):
        output.feed(b"%06d " % number + b"x" * 200 + b"\n")
    output.feed(b"y" * 10_000_000)
    log = output.close()
    assert log.startswith("first\n")
    assert "[... cut ...]" in log
    assert len(log) < LOG_HEAD + LOG_TAIL + 20_000


def test_several_workers_are_gpus_or_processes():
    words = contract.arguments(Cell("pytorch", "densenet121", n_gpus=2))
    assert words[2:4] == ["--workers", "2"]
    assert contract.arguments(Cell("pytorch", "densenet121", "cuda12", "v100", n_gpus=4))[2:4] == ["--gpus", "4"]
    assert Cell("pytorch", "densenet121", "cuda12", "v100", n_gpus=4).id == "pytorch/densenet121/cuda12/v100x4"
    assert Cell("pytorch", "densenet121", n_gpus=2).id == "pytorch/densenet121/cpu/x2"

"""The command line of a cell: ``<library> <workload> [--epochs N] …``, version 2 of the contract."""

import argparse
import json
import os
import sys
from pathlib import Path

CONTRACT = 2
WORKLOADS = Path(__file__).resolve().parent.parent
INTERPRETERS = {".py": None, ".R": "Rscript", ".jl": "julia"}  # by the suffix of a script; None is this Python
PRECISIONS = ("fp32", "tf32", "amp-fp16", "amp-bf16")
AXES = ("library", "workload", "platform", "precision", "variant", "data", "seed", "workers")
"""What a document repeats of its command line."""


def positive(text):
    """An integer above zero, or argparse's usual complaint."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("%s is not a positive number" % text)
    return number


def not_negative(text):
    """An integer of zero or more, or argparse's usual complaint."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("%s is negative" % text)
    return number


def read_params():
    """All hyper-parameters, by workload, from ``params.json``."""
    with open(str(WORKLOADS / "params.json")) as file:
        return json.load(file)


def params_of(workload, variant):
    """The hyper-parameters of a workload, with what a variant changes of them."""
    params = read_params()[workload]
    changes = params.pop("variants", {}).get(variant, {})
    return dict(params, **changes)


def script_of(library, workload, variant="reference"):
    """The path of the script of a library, say ``cnn/keras_tf.py``, ``cnn/keras_r.R`` or ``cnn/mxnet_tuned.py``.

    A variant that only changes parameters has the script of the reference.
    """
    same = ("reference", *read_params()[workload].get("variants", ()))
    name = library if variant in same else library + "_" + variant
    paths = [WORKLOADS / workload / (name.replace("-", "_") + suffix) for suffix in INTERPRETERS]
    return next((path for path in paths if path.is_file()), paths[0])


def libraries_of(workload):
    """The libraries that have a reference script for this workload, as the command line spells them."""
    scripts = (path for path in (WORKLOADS / workload).iterdir() if path.suffix in INTERPRETERS)
    return sorted(path.stem.replace("_", "-") for path in scripts)


def command_line():
    """What this process was called with; a Python inside another language has none and finds them in a variable."""
    return json.loads(os.environ["ROSETTA_ARGUMENTS"]) if "ROSETTA_ARGUMENTS" in os.environ else sys.argv[1:]


def parse(argv):
    """Read the arguments of one run; a wrong one ends the program with a usage message and code 2."""
    params = read_params()
    parser = argparse.ArgumentParser(
        prog="rosetta cell",
        description="Run one workload in one library and leave its result as JSON in the results folder.",
        epilog="example: pytorch rnn --data synthetic --epochs 2 --samples 1280",
    )
    parser.add_argument("library", help="say pytorch, keras-tf, cntk")
    parser.add_argument("workload", choices=sorted(params))
    parser.add_argument("--epochs", type=positive, metavar="N", help="default: as published")
    parser.add_argument("--samples", type=positive, metavar="N", help="train on the first N samples only; default: all")
    parser.add_argument("--data", choices=("real", "synthetic"), default="real")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--variant", default="reference")
    parser.add_argument("--parity", action="store_true", help="prove the model: given weights, no dropout, five steps")
    parser.add_argument("--profile", type=positive, metavar="N", help="N steps under a profiler, and no result")
    parser.add_argument("--weights", metavar="FILE", help="start from these, an .npz in the folder /weights")
    parser.add_argument("--gpus", type=not_negative, metavar="N", help="default: 0 on platform cpu, else 1")
    parser.add_argument("--workers", type=positive, metavar="N", help="on platform cpu, processes in place of GPUs")
    arguments = parser.parse_args(argv)
    arguments.platform = os.environ.get("ROSETTA_PLATFORM", "cpu")
    if arguments.gpus is None:
        arguments.gpus = 0 if arguments.platform == "cpu" else 1
    if arguments.gpus and arguments.workers not in (None, arguments.gpus):
        parser.error("--workers is for the platform cpu: each of the GPUs has one")
    if arguments.weights:
        arguments.weights = os.path.join(os.environ.get("ROSETTA_WEIGHTS", "/weights"), arguments.weights)
    arguments.workers = arguments.gpus or arguments.workers or 1
    parallel = params[arguments.workload].get("parallel", False)
    if arguments.weights and parallel and not arguments.parity:
        parser.error("%s takes --weights with --parity only" % arguments.workload)
    if arguments.profile and (arguments.workers > 1 or arguments.parity):
        parser.error("--profile takes one worker, and no --parity")
    if arguments.workers > 1 and not parallel:
        parser.error("%s runs on one GPU only" % arguments.workload)
    least = arguments.workers if parallel else params[arguments.workload]["batch_size"]
    if arguments.samples is not None and arguments.samples < least:
        parser.error("--samples %d is less than one batch of %d" % (arguments.samples, least))
    if not script_of(arguments.library, arguments.workload, arguments.variant).is_file():
        parser.error(
            "no script for library %s, workload %s, variant %s; there are: %s"
            % (arguments.library, arguments.workload, arguments.variant, ", ".join(libraries_of(arguments.workload)))
        )
    return arguments

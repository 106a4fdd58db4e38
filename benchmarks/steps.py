"""What a step costs: each library's reference script against a straightforward one, written as the notebooks of 2018.

    python benchmarks/steps.py [--only 'pytorch/*'] [--rounds 3] [--steps 40] [--cpus 1] [--platform cuda13 --gpu]
    python benchmarks/steps.py --python /opt/venv/bin/python [--gpu]

Both run in turn in the library's own image, on the same cores and the same samples: ours as `docker run` runs it, the
opponent out of notebooks/. Measured is the second of two epochs, by the wall clock, and by the processor time that the
process has used, which others on the machine disturb less. Needs the images: `rosetta build --only '*/*/cpu'`.

One core by default, the last: libraries whose threads spin on a shared machine are no measurement. On a GPU all cores,
and the wall clock alone counts. With --python both are plain processes of that interpreter.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "workloads")]
OPPONENTS = ROOT / "benchmarks" / "notebooks"
EPOCHS = 2
CLOCK = ROOT / "benchmarks" / "clock"
# Scripts that stand for several libraries: Keras' run on any backend, the others in both lines.
SHARED = {
    "chainer-2018": "chainer",
    "gluon-2018": "gluon",
    "mxnet-2018": "mxnet",
    "pytorch-2018": "pytorch",
    "keras-cntk": "keras-2",
    "keras-tf-2018": "keras-2",
    "keras-theano": "keras-2",
    "keras-jax": "keras-3",
    "keras-tf": "keras-3",
    "keras-torch": "keras-3",
}
# By its path: some have their library's name, which they could not import if their folder were searched.
PYTHON = ["python", "-c", "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"]
INTERPRETERS = {".py": PYTHON, ".R": ["Rscript"]}


class Failed(Exception):
    """A container ended without a result; the message is the last line that it wrote."""


def main() -> None:
    """Measure both in turn, library by library, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="GLOB", help="library/workload, say '*/rnn'; repeatable")
    parser.add_argument("--python", metavar="PATH", help="in this installation, in place of our images")
    parser.add_argument("--platform", default="cpu", help="whose images; of several, with commas, the first")
    parser.add_argument("--gpu", action="store_true", help="on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="in an epoch, of which there are 2")
    parser.add_argument("--cpus", metavar="LIST", help="cores, as docker run --cpuset-cpus has them")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    arguments.cpus = arguments.cpus or ",".join(map(str, cores if arguments.gpu else cores[-1:]))
    print(f"{arguments.steps} steps after as many, {arguments.rounds} rounds in turn, on {machine(arguments.cpus)}")
    print("ms a step, median: on the wall, and in brackets of the processor; ratios of each round: of the processor")
    print(f"{'':22}{'version':13}{'ours':>16}{'theirs':>16}{'ratio':>13}")
    with tempfile.TemporaryDirectory(prefix="rosetta-steps-") as name:
        folder = Path(name)
        write_samples(folder, arguments.steps)
        for library, workload, script in opponents(arguments.only or ["*"]):
            try:
                line = compare(library, workload, script, folder, arguments)
            except Failed as error:
                line = f"failed: {error}"
            print(f"{library + '/' + workload:22}{line}", flush=True)


def machine(cpus: str) -> str:
    """The processor, the cores that are used of those that there are, and how many programs want to run."""
    from harness import environment

    cpu, load = environment.describe()["cpu"], os.getloadavg()[0]
    return f"cores {cpus} of the {os.cpu_count()} of an {cpu}, load {load:.1f} before the start"


def opponents(only: list[str]) -> Iterator[tuple[str, str, Path]]:
    """What is to be compared: library, workload, and the script that ours is compared with."""
    from orchestrator.images.definitions import library_index

    for library in sorted(library_index()):
        for workload in ("cnn", "rnn"):
            name = SHARED.get(library, library).replace("-", "_")
            scripts = list((OPPONENTS / workload).glob(name + ".*"))
            if scripts and any(fnmatch(f"{library}/{workload}", pattern) for pattern in only):
                yield library, workload, scripts[0]


def write_samples(folder: Path, steps: int) -> None:
    """What the harness makes up for our scripts, as files for the opponents."""
    from harness import arguments, data

    (folder / "data").mkdir()
    for workload in ("cnn", "rnn"):
        params = arguments.read_params()[workload]
        made = data.load(params["dataset"], "synthetic", params, steps * params["batch_size"])
        np.savez(folder / "data" / f"{workload}.npz", x=made.x_train, y=made.y_train)


def compare(library: str, workload: str, script: Path, folder: Path, asked: argparse.Namespace) -> str:
    """The rest of a line: version, medians of both sides, their ratios, and those of each round."""
    image = "" if asked.python else image_of(library, asked.platform)
    ours, theirs = [], []
    for _ in range(asked.rounds):
        ours.append(reference(image, library, workload, folder, asked))
        theirs.append(opponent(image, library, script, folder, asked))
    versions = {each["version"] for each in ours + theirs}
    if len(versions) > 1:
        raise Failed(f"the two sides measure different versions, {', '.join(sorted(versions))}")
    median = {
        key: [statistics.median(each[key] for each in side) / asked.steps * 1e3 for side in (ours, theirs)]
        for key in ("seconds", "cpu")
    }
    sides = "".join(f"{wall:8.1f} ({cpu:5.1f})" for wall, cpu in zip(*median.values(), strict=True))
    wall, cpu = (mine / other for mine, other in median.values())
    each = ", ".join(f"{mine['cpu'] / other['cpu']:.2f}" for mine, other in zip(ours, theirs, strict=True))
    return f"{versions.pop():13}{sides}{wall:7.2f} ({cpu:.2f})  {each}"


def image_of(library: str, platforms: str) -> str:
    """The id of a library's image: its tag may name another one before we are through. The first platform counts."""
    from orchestrator.images.image import image_for

    image = next(filter(None, (image_for(library, platform) for platform in platforms.split(","))), None)
    if image is None:
        raise Failed(f"images/ has no image for it on the platform {platforms}")
    return called(["docker", "image", "inspect", "--format", "{{.Id}}", image.tag]).strip()


def reference(image: str, library: str, workload: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The last epoch of our script."""
    from harness import arguments

    results = Path(tempfile.mkdtemp(dir=folder))
    samples = asked.steps * arguments.read_params()[workload]["batch_size"]
    options = ["--data", "synthetic", "--epochs", str(EPOCHS), "--samples", str(samples)]
    options += ["--gpus", str(int(asked.gpu))]
    mounts = {results: "/results", CLOCK: "/clock:ro"}
    program = ["python", "-m", "harness", library, workload, *options]
    printed = run(asked, mounts, "/clock:/workloads", image, program)
    events = [json.loads(line) for line in printed.splitlines() if line.startswith('{"event": "epoch"')]
    documents = list(results.glob("*.json"))
    if not documents:
        raise Failed("it has left no document")
    document = json.loads(documents[0].read_text())
    return {
        "version": document["versions"]["framework"],
        "seconds": document["epoch_seconds"][-1],
        "cpu": events[-1]["cpu"] - events[-2]["cpu"],
    }


def opponent(image: str, library: str, script: Path, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The last epoch of the script that ours is compared with."""
    mounts = {OPPONENTS: "/notebooks:ro", folder / "data": "/data:ro"}
    program = [*INTERPRETERS[script.suffix], f"/notebooks/{script.relative_to(OPPONENTS)}", library]
    printed = run(asked, mounts, "/notebooks", image, program)
    measured: dict[str, Any] = json.loads(next(line for line in reversed(printed.splitlines()) if line.startswith("{")))
    return measured


def run(asked: argparse.Namespace, mounts: dict[Path, str], path: str, image: str, program: list[str]) -> str:
    """What a program prints; it sees the scripts and parameters of this checkout, whichever its image was made of.

    ``mounts`` are folders and where the program finds them, ``path`` is its PYTHONPATH.
    """
    mounts = {**mounts, ROOT / "workloads": "/workloads:ro"}
    if asked.python:
        return run_as_process(asked, mounts, path, program)
    first, *words = program
    command = ["docker", "run", "--rm", "--network", "none", "--cpuset-cpus", asked.cpus, "--entrypoint", first]
    command += ["--gpus", "device=0"] if asked.gpu else []
    for source, target in mounts.items():
        command += ["--volume", f"{source}:{target}"]
    return called([*command, "--env", f"PYTHONPATH={path}", image, *words])


def run_as_process(asked: argparse.Namespace, mounts: dict[Path, str], path: str, program: list[str]) -> str:
    """The same by the user's interpreter, with the folders where they lie."""
    folders = {target.removesuffix(":ro"): str(source) for source, target in mounts.items()}
    for target, source in folders.items():
        program = [source + word.removeprefix(target) if word.startswith(f"{target}/") else word for word in program]
    places = {f"ROSETTA_{target[1:].upper()}": source for target, source in folders.items()}
    found = ":".join([*(folders[target] for target in path.split(":")), os.environ.get("PYTHONPATH", "")]).rstrip(":")
    hidden = {} if asked.gpu else {"CUDA_VISIBLE_DEVICES": ""}
    command = ["taskset", "--cpu-list", asked.cpus, asked.python, *program[1:]]
    return called(command, {**os.environ, **places, **hidden, "PYTHONPATH": found})


def called(command: list[str], variables: dict[str, str] | None = None) -> str:
    """What a command prints, with these environment variables or ours."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=variables)
    except OSError as error:
        raise Failed(str(error)) from error
    if done.returncode:
        raise Failed((done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return done.stdout


if __name__ == "__main__":
    main()

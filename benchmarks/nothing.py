"""Cells that only wait: a copy of the checkout whose libraries are named for how long, for tests and benchmarks.

``waits-250`` waits 250 ms, prints which GPUs it was given and when it began and ended, and leaves a valid document. Its
image is a shell script on Debian: everything else is the real program, with the real engine.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = "debian:bookworm-slim"
TAGS = ("rosetta/nothing:1-cpu", "rosetta/nothing:1-cuda12")
DOCKERFILE = """
FROM {{ base }}
COPY workloads/nothing.sh /
COPY --chown=10001:10001 workloads/nothing /results
ENV ROSETTA_PLATFORM={{ platform }}
ENTRYPOINT ["sh", "/nothing.sh"]
"""
FRAMEWORK = """
framework: nothing
license: MIT
libraries: {libraries}
python: "3.11"
base: {base}
platforms:
  cpu: {{version: "1", requirements: [nothing]}}
  cuda12: {{version: "1", requirements: [nothing]}}
"""
SCRIPT = """
# waits-MILLISECONDS rnn ... --data DATA --seed SEED ...: waits and says so
library=$1 gpus=${NVIDIA_VISIBLE_DEVICES:-none} began=$(date +%s.%N)
while [ $# -gt 0 ]; do
    case $1 in --seed) seed=$2 ;; --epochs) epochs=$2 ;; --samples) samples=$2 ;; esac
    shift
done
echo "{\\"event\\": \\"epoch\\", \\"epoch\\": 1, \\"epochs\\": $epochs, \\"loss\\": 0.5}"
waits=${library#waits-}
sleep "$((waits / 1000)).$(printf %03d $((waits % 1000)))"
echo "record $gpus $began $(date +%s.%N)"
n_gpus=1
if [ "$ROSETTA_PLATFORM" = cpu ]; then n_gpus=0; fi
cat >/results/.part <<DOCUMENT
{"contract": 1, "library": "$library", "workload": "rnn", "platform": "$ROSETTA_PLATFORM", "precision": "fp32",
 "variant": "reference", "data": "synthetic", "seed": $seed, "n_gpus": $n_gpus, "epochs": $epochs, "samples": $samples,
 "steps": 1, "samples_tested": 64, "shortened": true, "metric": "accuracy", "quality": 1.0, "seconds": 0.1,
 "seconds_warm": null, "phases": {}, "epoch_seconds": [0.1], "epoch_losses": [0.5], "peak_memory": 0, "parity": null,
 "versions": {"framework": "1", "cuda": null, "cudnn": null, "packages": {}},
 "environment": {"os": "Debian", "kernel": "", "python": "", "numpy": "", "cpu": "any", "cores": 1, "memory": 0,
                 "gpus": []}}
DOCUMENT
mv /results/.part /results/result.json
"""


def checkout(folder: Path, milliseconds: Iterable[int], matrix: str | None = None, repeats: int = 1) -> Path:
    """A copy of the checkout in which cells wait; without a ``matrix`` one CPU cell of each length in each repeat."""
    libraries = [f"waits-{wait}" for wait in dict.fromkeys(milliseconds)]
    shutil.copytree(ROOT / "orchestrator", folder / "orchestrator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "workloads", folder / "workloads", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "images" / "locks").mkdir(parents=True)
    (folder / "images" / "Dockerfile.j2").write_text(DOCKERFILE)
    for name in ("probe.Dockerfile", "fixed-times.sh"):
        shutil.copy(ROOT / "images" / name, folder / "images")
    titles = {name: {"title": name, "docs": "https://example.org/"} for name in libraries}
    (folder / "images" / "nothing.yaml").write_text(FRAMEWORK.format(libraries=json.dumps(titles), base=BASE))
    for platform in ("cpu", "cuda12"):
        (folder / "images" / "locks" / f"nothing-{platform}.txt").write_text("")
    (folder / "workloads" / "nothing").mkdir()
    (folder / "workloads" / "nothing" / ".keep").write_text("")
    (folder / "workloads" / "nothing.sh").write_text(SCRIPT)
    for name in libraries:
        (folder / "workloads" / "rnn" / f"{name.replace('-', '_')}.py").write_text("")
    (folder / "matrix.yaml").write_text(matrix or every(libraries, repeats))
    return folder


COMPOSED = (
    "docker-compose.yml", ".dockerignore", "LICENSE", "hatch_build.py", "matrix.schema.json", "pyproject.toml",
    "requirements.lock", "images/apt-mirror.sh", "images/proxies.sh",
)  # fmt: skip
"""What Compose needs of the checkout, beside the program."""


def add_compose(folder: Path) -> None:
    """Add to such a copy what `docker compose up` needs."""
    for name in COMPOSED:
        shutil.copy(ROOT / name, folder / name)


SHORT = {"data": "synthetic", "epochs": 1, "samples": 64}


def every(libraries: Sequence[str], repeats: int) -> str:
    """A matrix file of all libraries on a CPU."""
    axes = {"library": libraries, "workload": ["rnn"], "data": ["synthetic"], "repeat": list(range(repeats))}
    return json.dumps({"axes": axes, "include": [SHORT], "profiles": {"full": {}}})


def matrix_of(points: Sequence[Mapping[str, str | int]]) -> str:
    """A matrix file of exactly these points: a library, a platform and a GPU each."""
    include = [{"workload": "rnn", **SHORT, **point} for point in points]
    names = ("library", "workload", "platform", "gpu", "data", "repeat")
    axes = {axis: [include[0][axis]] for axis in names if axis in include[0]}
    return json.dumps({"axes": axes, "include": include, "profiles": {"full": {}}})


def command(*words: str) -> list[str]:
    """``rosetta`` of the checkout in the current folder."""
    return [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The variables with which a process runs the program of that checkout."""
    return {**os.environ, "PYTHONPATH": str(folder), "ROSETTA_LOCKS": str(folder / "locks"), **variables}


def rosetta(folder: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command, run to its end."""
    env = environment(folder, **variables)
    return subprocess.run(command(*words), cwd=folder, env=env, capture_output=True, text=True, check=False)


def remove_images(**variables: str) -> None:
    """Leave no image behind."""
    command = ["docker", "image", "rm", "--force", *TAGS]
    subprocess.run(command, env={**os.environ, **variables}, check=False, capture_output=True)

"""Kills at random moments while quick cells run, and what is left of them.

Two orchestrators share a results folder. One that is killed is started again, until both say that all is done; then
every cell must have exactly one row, ok, and no container or lock may be left. Rounds go on until there have been
enough kills. Exit code 1, and what is wrong, if a round is not as it must be. Rounds take turns among the ways to run:

    docker    two `rosetta run`; orchestrators and containers are killed
    ray       the same on a Ray cluster of four nodes, which are killed too
    compose   two `docker compose up`, whose orchestrators are containers and killed as such

usage: python benchmarks/faults.py [--way docker]... [--kills 200] [--cells 24] [--seed 0] [--private-engine]

--private-engine needs root: it starts a second dockerd in a folder of its own and kills that one too, except from under
Compose, whose network it can't give. Without it the machine's own engine is used and never harmed.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq

from benchmarks import nothing
from benchmarks.private_engine import PrivateEngine
from orchestrator.images.sources import Sources
from tests.containers.ray_cluster import HEAD, NODES, SETTINGS, Machines

ORCHESTRATORS = 2
SOONEST, LATEST = 0.1, 1.5
"""Seconds between two kills."""

LONGEST = 1200
"""Seconds that a round may take."""


class Round:
    """One results folder, run to its end in spite of everything."""

    words: tuple[str, ...] = ("--engine", "docker", "--jobs", "3")

    def __init__(self, folder: Path, name: str, cells: int, dice: random.Random, engine: PrivateEngine | None) -> None:
        self.folder, self.results, self.cells, self.dice, self.engine = folder, folder / name, cells, dice, engine
        self.variables = nothing.environment(folder, **({"DOCKER_HOST": engine.socket} if engine else {}))
        self.kills: Counter[str] = Counter()
        self.running: list[subprocess.Popen[bytes] | None] = [None] * ORCHESTRATORS

    def run(self, most: int) -> None:
        """Start, kill and start again, with at most so many kills, until every orchestrator ends well by itself."""
        until = time.monotonic() + LONGEST
        while not all(process is not None and process.poll() == 0 for process in self.running):
            if time.monotonic() > until:
                raise SystemExit(f"a round does not end:\n{(self.folder / 'said').read_text()[-5000:]}")
            for number, process in enumerate(self.running):
                if process is None or process.poll() not in (None, 0):
                    self.running[number] = self.start(number)
            time.sleep(self.dice.uniform(SOONEST, LATEST))
            if sum(self.kills.values()) < most:
                victim = self.dice.choice(list(self.victims))
                self.kills[victim] += self.victims[victim]()

    def start(self, number: int) -> "subprocess.Popen[bytes]":
        """One of the orchestrators."""
        return self.started(nothing.command("run", *self.words, "--results", str(self.results)))

    def started(self, command: list[str], **variables: str) -> "subprocess.Popen[bytes]":
        """The command, which says what it says into a file."""
        with (self.folder / "said").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env={**self.variables, **variables}, stdout=log, stderr=log
            )

    @property
    def victims(self) -> Mapping[str, Callable[[], bool]]:
        """What gets SIGKILL, and how; each says whether there was one."""
        engine = {"dockerd": self.kill_engine} if self.engine else {}
        return {"orchestrator": self.kill_orchestrator, "container": self.kill_container, **engine}

    def kill_orchestrator(self) -> bool:
        """Kill one of those that run."""
        alive = [process for process in self.running if process is not None and process.poll() is None]
        if alive:
            self.dice.choice(alive).send_signal(signal.SIGKILL)
        return bool(alive)

    def kill_container(self) -> bool:
        """Kill a cell's container."""
        containers = self.containers("--filter", "status=running")
        return bool(containers) and self.docker("kill", self.dice.choice(containers)).returncode == 0

    def kill_engine(self) -> bool:
        """Kill dockerd, which is ours, and start it again soon after."""
        assert self.engine is not None
        self.engine.kill()
        time.sleep(self.dice.uniform(0, 2))
        self.engine.start()
        return True

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.results)

    def containers(self, *options: str) -> list[str]:
        """The containers of this round's cells, and of no other results folder."""
        identity = self.results / ".claims" / "id"
        if not identity.exists():
            return []
        mark = f"{identity.read_text()}.{identity.stat().st_ino}/"
        form = '{{.ID}} {{.Label "rosetta.claim"}}'
        said = self.docker("ps", "--no-trunc", "--filter", "label=rosetta.claim", "--format", form, *options).stdout
        return [line.split()[0] for line in said.splitlines() if line.partition(" ")[2].startswith(mark)]

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Docker's command, with the engine of this round."""
        return subprocess.run(["docker", *words], env=self.variables, capture_output=True, text=True, check=False)

    def complaints(self) -> list[str]:
        """What is not as it must be."""
        wanted = {(f"waits-{wait}/rnn/cpu", repeat) for wait, repeat in self.cells_wanted}
        rows = pq.read_table(self.results / "merged.parquet").to_pylist()
        found = Counter((row["cell"], row["repeat"]) for row in rows)
        files = [path for path in (self.results / "cells").rglob("*.parquet") if path.name[0] != "."]
        claims = {path.name for path in (self.results / ".claims").iterdir()} - {"id", "folder.lock"}
        checks = {
            "cells without a row": sorted(wanted - set(found)),
            "cells with several rows": [cell for cell, count in found.items() if count > 1],
            "rows of no cell": sorted(set(found) - wanted),
            "rows that are not ok": [
                (row["cell"], row["status"], row["reason"]) for row in rows if row["status"] != "ok"
            ],
            "result files too many or too few": [] if len(files) == len(wanted) else [len(files), len(wanted)],
            "parts of files": [str(path) for path in (self.results / "cells").rglob("*.partial")],
            "locks": sorted(claims),
            "containers": self.containers("--all"),
        }
        return [f"{what}: {which}" for what, which in checks.items() if which]

    @property
    def cells_wanted(self) -> list[tuple[int, int]]:
        """Length and repeat of every cell."""
        return [(wait, repeat) for wait in lengths(self.cells) for repeat in (0, 1)]


class OnRay(Round):
    """A round whose cells run on a cluster's nodes."""

    def __init__(self, machines: Machines, *rest: Any) -> None:
        super().__init__(*rest)
        self.machines, self.words = machines, ("--engine", "ray", "--address", machines.cluster.address)

    @property
    def victims(self) -> Mapping[str, Callable[[], bool]]:
        """Nodes too."""
        return {**super().victims, "node": self.kill_node}

    def kill_node(self) -> bool:
        """Kill all processes of a node other than the head, and start it again soon after."""
        name = self.dice.choice(NODES)
        self.machines.kill(name)
        time.sleep(self.dice.uniform(0, 2))
        while True:
            try:
                self.machines.start(name)
                return True
            except Exception as error:  # the SDK has no class for it
                if "timed out during startup" not in str(error):
                    raise


class Composed(Round):
    """A round of two Compose projects in one folder, whose orchestrators are containers."""

    def __init__(self, folder: Path, *rest: Any) -> None:
        super().__init__(folder, *rest)
        self.results = folder / "results"  # which the Compose file names
        self.results.mkdir()
        sources = Sources.from_environment()
        found = {"ROSETTA_CA_BUNDLE": sources.ca, "ROSETTA_WHEELS": sources.wheels}
        self.variables |= {name: str(path) for name, path in found.items() if path}

    def start(self, number: int) -> "subprocess.Popen[bytes]":
        """Bring a project up, its pages included, until its run ends."""
        command = ["docker", "compose", "up", "--exit-code-from", "rosetta"]
        return self.started(command, ROSETTA_PORT=str(free_port()), ROSETTA_ARGS="--jobs 3", **self.project(number))

    def project(self, number: int) -> dict[str, str]:
        """The variable that names a project."""
        return {"COMPOSE_PROJECT_NAME": f"rosetta-faults-{os.getpid()}-{number}"}

    def kill_orchestrator(self) -> bool:
        """Kill the container in which one runs."""
        label = f"label=com.docker.compose.project={self.project(self.dice.randrange(ORCHESTRATORS)).popitem()[1]}"
        service = "label=com.docker.compose.service=rosetta"
        found = self.docker("ps", "--quiet", "--filter", label, "--filter", service).stdout.split()
        return bool(found) and self.docker("kill", found[0]).returncode == 0

    def close(self) -> None:
        """Remove the projects too."""
        for number in range(ORCHESTRATORS):
            self.started(["docker", "compose", "down", "--volumes"], **self.project(number)).wait()
        super().close()


def free_port() -> int:
    """A port for the pages of a project."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lengths(cells: int) -> list[int]:
    """How many milliseconds the cells of a repeat wait."""
    return [100 + 50 * number for number in range(cells // 2)]


def rounds(way: str, folder: Path, cells: int, dice: random.Random, engine: PrivateEngine | None) -> Iterator[Round]:
    """Rounds of one way to run without end; what they need is there until the iterator is closed."""
    checkout = nothing.checkout(folder / way, lengths(cells), repeats=2)
    with ExitStack() as stack:
        if way == "compose":
            nothing.add_compose(checkout)
            kind = Composed
            engine = None
        elif way == "ray":
            os.environ.update(SETTINGS)
            sockets = dict.fromkeys((HEAD, *NODES), engine.socket) if engine else {}
            machines = stack.enter_context(Machines(checkout, sockets))
            kind = partial(OnRay, machines)
        else:
            kind = Round
        if engine is None:
            stack.callback(nothing.remove_images)
        for number in count():
            yield kind(checkout, f"r{number}", cells, dice, engine)


def main() -> None:
    """Rounds until there have been enough kills; a line for each and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", action="append", choices=("docker", "ray", "compose"), help="repeatable; docker")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cells", type=int, default=24, help="in each round; two repeats of half as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--private-engine", action="store_true", help="kill dockerd too: one of our own, as root")
    arguments = parser.parse_args()
    dice, started = random.Random(arguments.seed), time.monotonic()
    kills: Counter[str] = Counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rosetta-faults-")))
        engine = stack.enter_context(PrivateEngine()) if arguments.private_engine else None
        if engine:
            engine.take_image(nothing.BASE)
        ways = {
            way: stack.enter_context(closing(rounds(way, folder, arguments.cells, dice, engine)))
            for way in arguments.way or ["docker"]
        }
        for number, way in enumerate(cycle(ways), 1):
            this = next(ways[way])
            this.run(arguments.kills - sum(kills.values()))
            kills += this.kills
            wrong = this.complaints()
            print(
                f"round {number}, {way}: {arguments.cells} cells, killed {told(this.kills)}; "
                f"{'; '.join(wrong) if wrong else 'every cell has one row, nothing is left'}",
                flush=True,
            )
            if wrong:
                print((this.folder / "said").read_text()[-5000:])
                sys.exit(1)
            this.close()
            if sum(kills.values()) >= arguments.kills:
                break
    print(f"{sum(kills.values())} kills in {number} rounds and {time.monotonic() - started:.0f} s: {told(kills)}")


def told(kills: "Counter[str]") -> str:
    """Kills by what was killed."""
    return ", ".join(f"{count} × {victim}" for victim, count in sorted(kills.items()) if count) or "nothing"


if __name__ == "__main__":
    main()

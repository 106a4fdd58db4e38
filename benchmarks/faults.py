"""Kills at random moments while quick cells run: of orchestrators, of containers and, if it is our own, of dockerd.

Two orchestrators share a results folder. One that is killed is started again, until both say that all is done; then
every cell must have exactly one row, ok, and no container or lock may be left. Rounds go on until there have been
enough kills. Exit code 1, and what is wrong, if a round is not as it must be.

usage: python benchmarks/faults.py [--kills 200] [--cells 24] [--seed 0] [--private-engine]

--private-engine needs root: it starts a second dockerd in a folder of its own and kills that one too. Without it the
machine's own engine is used and never harmed.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq

from benchmarks import nothing
from benchmarks.private_engine import PrivateEngine

ORCHESTRATORS = 2
SOONEST, LATEST = 0.1, 1.5
"""Seconds between two kills."""

LONGEST = 1200
"""Seconds that a round may take."""


class Round:
    """One results folder, run to its end in spite of everything."""

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
                    self.running[number] = self.start()
            time.sleep(self.dice.uniform(SOONEST, LATEST))
            if sum(self.kills.values()) < most:
                self.kill_something()

    def start(self) -> subprocess.Popen[bytes]:
        """One more orchestrator."""
        words = ["run", "--engine", "docker", "--jobs", "3", "--results", str(self.results)]
        with (self.folder / "said").open("ab") as log:
            return subprocess.Popen(
                nothing.command(*words), cwd=self.folder, env=self.variables, stdout=log, stderr=log
            )

    def kill_something(self) -> None:
        """SIGKILL to an orchestrator, a container or, if it is ours, the engine; counts it if there was one."""
        victim = self.dice.choice(["orchestrator", "container", *(["dockerd"] if self.engine else [])])
        if victim == "dockerd" and self.engine:
            self.engine.kill()
            time.sleep(self.dice.uniform(0, 2))
            self.engine.start()
        elif victim == "orchestrator":
            alive = [process for process in self.running if process is not None and process.poll() is None]
            if not alive:
                return
            self.dice.choice(alive).send_signal(signal.SIGKILL)
        else:
            containers = self.containers("--filter", "status=running")
            if not containers or self.docker("kill", self.dice.choice(containers)).returncode:
                return
        self.kills[victim] += 1

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


def lengths(cells: int) -> list[int]:
    """How many milliseconds the cells of a repeat wait."""
    return [100 + 50 * number for number in range(cells // 2)]


def main() -> None:
    """Rounds until there have been enough kills; a line for each and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
        checkout = nothing.checkout(folder / "checkout", lengths(arguments.cells), repeats=2)
        number = 0
        while sum(kills.values()) < arguments.kills:
            number += 1
            this = Round(checkout, f"r{number}", arguments.cells, dice, engine)
            this.run(arguments.kills - sum(kills.values()))
            kills += this.kills
            wrong = this.complaints()
            print(
                f"round {number}: {arguments.cells} cells, killed {told(this.kills)}; "
                f"{'; '.join(wrong) if wrong else 'every cell has one row, nothing is left'}",
                flush=True,
            )
            if wrong:
                print((checkout / "said").read_text()[-5000:])
                sys.exit(1)
            shutil.rmtree(this.results)
        if not engine:
            nothing.remove_images()
    print(f"{sum(kills.values())} kills in {number} rounds and {time.monotonic() - started:.0f} s: {told(kills)}")


def told(kills: "Counter[str]") -> str:
    """Kills by what was killed."""
    return ", ".join(f"{count} × {victim}" for victim, count in sorted(kills.items())) or "nothing"


if __name__ == "__main__":
    main()

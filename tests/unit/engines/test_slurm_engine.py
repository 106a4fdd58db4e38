"""How jobs are followed, left and taken over, with commands that stand in for Slurm's and run jobs on this machine."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.protocol import Queued, Task
from orchestrator.engines.slurm import engine, folders, slots, watch
from orchestrator.engines.slurm.engine import SlurmEngine
from orchestrator.engines.slurm.folders import JobFolder, Order
from orchestrator.engines.slurm.script import BEGAN, ENDED, Inside
from orchestrator.engines.slurm.site import Slurm
from orchestrator.engines.slurm.watch import Watch
from orchestrator.errors import EngineError
from orchestrator.images.image import every_image
from orchestrator.results.claims import Claims
from tests.unit.run.test_running import document

COMMANDS = {
    "sinfo": "echo 'all*|infinite|2|4|8000|(null)|n[1-2]'",
    "sbatch": """
    [ ! -e refusal ] || { cat refusal >&2; exit 1; }
    until mkdir submitting 2>/dev/null; do sleep 0.01; done
    number=$(($(ls | grep -c 'job$') + 1))
    cat >$number.script
    option() { sed -n "s/^#SBATCH '*--$1=\\([^']*\\)'*$/\\1/p" $number.script; }
    tell() { echo "$number|$1|None|n1|$(option job-name)|$(option comment)" >.$number && mv .$number $number.job; }
    tell $(cat first 2>/dev/null || echo RUNNING)
    rmdir submitting
    echo $number
    [ ! -e first ] || exit 0
    (
        bash $number.script >"$(option output)" 2>&1
        code=$?
        [ -e stuck ] || [ -e $number.cancelled ] || tell $([ $code = 0 ] && echo COMPLETED || echo FAILED)
    ) </dev/null >/dev/null 2>&1 &
    """,
    "squeue": "[ ! -e silence ] || { cat silence >&2; exit 1; }; cat *.job 2>/dev/null; exit 0",
    "scancel": """
    for each; do
        [ -e $each.job ] || continue
        touch $each.cancelled
        sed 's/|[A-Z]*|/|CANCELLED|/' $each.job >.c$each && mv .c$each $each.job
    done
    """,
}
"""A Slurm whose state is a folder: a file for each job, as squeue prints it, and files by which tests change it."""


class Way:
    """Starts cells as a test says; ``code`` is what the shell runs, with the folder of the results as $1."""

    images = SimpleNamespace(name="process", in_containers=False, version="1", image_folder=None)

    def __init__(self, code: str) -> None:
        self.code, self.current = code, "sha256:1"

    def inside(self, task: Task, folder: Path) -> Inside:
        results = folder / "results"
        results.mkdir()
        (folder / "document").write_text(document(task.cell).model_dump_json())
        return Inside(["sh", "-c", self.code, "sh", str(results)])

    def digest(self, image: object) -> str:
        return self.current


GOOD = 'mv "$1/../document" "$1/a.json"'
CELL = Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=64)
IMAGE = next(iter(every_image()))


class Cluster:
    """The stand-in's folder, and orchestrators on it."""

    def __init__(self, folder: Path) -> None:
        self.place, self.results = folder / "slurm", folder / "results"
        self.place.mkdir()
        self.results.mkdir()
        self.claims = Claims(self.results)
        self.said: list[str] = []
        self.events: list[object] = []

    def engine(self, code: str = GOOD, confirm: Callable[[str], bool] = lambda question: True, **site) -> SlurmEngine:
        return SlurmEngine(Way(code), Slurm(**site), self.results, self.said.append, confirm)

    def task(self, number: int = 0, key: str = "key") -> Task:
        return Task(CELL, IMAGE, key, run=f"{number:032x}", claim=self.claims.label("key"), deadline=60.0)

    def run(self, engine: SlurmEngine, number: int = 0, key: str = "key") -> Outcome:
        return engine.run(self.task(number, key), self.events.append)

    def beside(
        self, engine: SlurmEngine, number: int = 0, key: str = "key"
    ) -> "tuple[threading.Thread, list[Outcome]]":
        """Run a cell in a thread of its own; the outcome comes later."""
        came: list[Outcome] = []
        thread = threading.Thread(target=lambda: came.append(self.run(engine, number, key)), daemon=True)
        thread.start()
        return thread, came

    @property
    def jobs(self) -> list[str]:
        """The states of all jobs."""
        return [path.read_text().split("|")[1] for path in sorted(self.place.glob("*.job"))]

    @property
    def left(self) -> list[Path]:
        """The folders of jobs."""
        return list((self.results / ".jobs").glob("*/*"))

    def left_by_another(self, claim: str, ended: bool, job: str = "9", state: str = "RUNNING") -> JobFolder:
        """The job of another orchestrator."""
        run = "ab" * 16
        order = Order(run=run, key="key", claim=claim, cell=CELL.id, deadline=60.0, submitted=1.0, job=job)
        folder = folders.JobFolders(self.results).made(order)
        if state:
            (self.place / f"{job}.job").write_text(f"{job}|{state}|None|n1|rosetta:a|rosetta:{claim}:key:{run}\n")
        if ended:
            finish(folder)
        return folder


def finish(folder: JobFolder) -> None:
    """Leave a result."""
    (folder.path / "results").mkdir(exist_ok=True)
    (folder.path / "results" / "a.json").write_text(document(CELL).model_dump_json())
    (folder.path / BEGAN).write_text("1\nn1\n")
    (folder.path / ENDED).write_text("2\n0\n")


def until(is_so: Callable[[], object]) -> None:
    """Wait for it."""
    patience = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Cluster:
    made = Cluster(tmp_path)
    for name, code in COMMANDS.items():
        command = tmp_path / "commands" / name
        command.parent.mkdir(exist_ok=True)
        words = 'while [ "${1#--}" != "$1" ]; do shift; done'
        command.write_text(f"#!/bin/bash\ncd {made.place} || exit 1\n{words}\n{code}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'commands'}:{os.environ['PATH']}")
    for module, name in ((engine, "OFTEN"), (watch, "OFTEN"), (slots, "LOOK")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(engine, "VISIBLE", 0.5)
    return made


# --- What becomes of a cell -----------------------------------------------------------------------------------------
def test_a_result_stays_in_its_folder_until_its_row_is_written(cluster):
    outcome = cluster.run(cluster.engine())
    assert (outcome.status, outcome.image_digest) == (Status.OK, "sha256:1")
    assert len(cluster.left) == 1
    other = cluster.engine()
    other.way.current = "sha256:2"  # built anew, after the job has begun
    again = cluster.run(other, 1)  # as after the death of the first
    assert (again.status, again.image_digest, len(cluster.jobs)) == (Status.OK, "sha256:1", 1)
    again.settled()
    assert cluster.left == []


@pytest.mark.parametrize(("code", "status"), [("exit 1", "failed"), ("kill -9 $$", "oom")])
def test_a_cell_that_fails_is_not_lost_though_its_job_never_seems_to_end(cluster, code, status):
    (cluster.place / "stuck").touch()
    outcome = cluster.run(cluster.engine(code))
    assert (outcome.status, cluster.jobs) == (status, ["RUNNING"])


def test_a_job_that_is_cancelled_while_its_cell_ends_is_lost_and_leaves_nothing(cluster):
    (cluster.place / "stuck").touch()
    engine = cluster.engine("exit 1")
    thread, came = cluster.beside(engine)
    until(lambda: any((path / ENDED).is_file() for path in cluster.left))
    engine.watch.cancel(["1"])
    thread.join()
    assert (came[0].status, cluster.left) == (Status.HOST_LOST, [])


def test_a_job_that_slurm_does_not_list_is_cancelled_before_it_is_given_up(cluster, monkeypatch):
    (cluster.place / "first").write_text("RUNNING")
    cancelled: list[str] = []
    monkeypatch.setattr(engine.commands, "jobs", list)
    monkeypatch.setattr(engine.commands, "cancel", cancelled.extend)
    outcome = cluster.run(cluster.engine())
    assert (outcome.status, outcome.reason) == (Status.HOST_LOST, "Slurm no longer knows job 1")
    assert (cancelled, cluster.left) == (["1"], [])


def test_a_job_in_a_state_nobody_knows_is_cancelled_before_it_is_given_up(cluster):
    (cluster.place / "first").write_text("PERPLEXED")
    outcome = cluster.run(cluster.engine())
    assert outcome.status == Status.HOST_LOST
    assert (cluster.jobs, cluster.left) == (["CANCELLED"], [])


def test_a_dead_orchestrators_job_in_a_state_nobody_knows_is_cancelled_before_another_takes_its_place(cluster):
    cluster.left_by_another(cluster.claims.label("key"), ended=False, state="PERPLEXED")
    assert cluster.run(cluster.engine()).status == Status.OK
    assert sorted(cluster.jobs) == ["CANCELLED", "COMPLETED"]


def test_the_end_of_an_output_that_is_visible_late_is_the_reason(cluster):
    folder = cluster.left_by_another(cluster.claims.label("key"), ended=False, state="FAILED")
    (folder.path / BEGAN).write_text("1\nn1\n")
    (folder.path / ENDED).write_text("2\n1\n")
    (folder.path / "output").write_text("progress\n" * 10**6 + "RuntimeError: the real reason\n")
    assert cluster.run(cluster.engine()).reason == "exit code 1: RuntimeError: the real reason"


def test_a_cell_that_prints_without_end_is_stopped_all_the_same(cluster):
    own = cluster.engine("timeout 5 yes")
    thread, came = cluster.beside(own)
    until(lambda: any(path.stat().st_size > 10_000_000 for path in cluster.results.rglob("output")))
    own.stop()
    thread.join(10)
    assert (came[0].status, cluster.jobs) == (Status.HOST_LOST, ["CANCELLED"])


def test_a_node_that_can_not_start_cells_is_avoided_unless_there_is_no_other(cluster):
    own = cluster.engine(lines=["exit 1"])
    outcomes = [cluster.run(own, number) for number in range(4)]
    reason = "job 1 on n1: FAILED, before its cell began"
    assert [outcome.status for outcome in outcomes] == [Status.HOST_LOST] * 4
    assert outcomes[0].reason.startswith(reason)
    scripts = [(cluster.place / f"{number}.script").read_text() for number in (3, 4)]
    assert ["--exclude=n1" in text for text in scripts] == [False, True]
    own._unfit["n2"] = 3
    assert own.wanted(cluster.task(), 60.0).exclude == ()


def test_why_a_job_never_starts_is_said_once_with_what_to_change(cluster):
    (cluster.place / "first").write_text("PENDING")
    own = cluster.engine()
    both = [cluster.beside(own, number, f"key{number}") for number in range(2)]
    until(lambda: len(cluster.jobs) == 2)
    for path in cluster.place.glob("*.job"):
        path.write_text(path.read_text().replace("None", "QOSMaxWallDurationPerJobLimit"))
    limit = "(QOSMaxWallDurationPerJobLimit)"
    until(lambda: sum(isinstance(each, Queued) and limit in each.state for each in list(cluster.events)) == 2)
    own.stop()
    for thread, _ in both:
        thread.join()
    (said,) = cluster.said
    assert "slurm: time in site.yaml" in said


# --- A full queue ---------------------------------------------------------------------------------------------------
def test_a_full_queue_is_waited_for_and_takes_no_more_cells(cluster):
    own = cluster.engine("while [ ! -e $1/go ]; do sleep 0.05; done; " + GOOD)
    leases = own.slots(SimpleNamespace(), [], 200)
    first, came = cluster.beside(own, 1)
    until(lambda: [path for path in cluster.left if (path / BEGAN).is_file()])
    (cluster.place / "refusal").write_text("sbatch: error: QOSMaxSubmitJobPerUserLimit\n")
    waiting, later = cluster.beside(own, 2, "other")
    until(lambda: cluster.said)
    assert [leases.take("none") is not None for _ in range(3)] == [True, True, False]
    (cluster.place / "refusal").unlink()
    assert not later
    (cluster.results / ".jobs" / "key" / f"{1:032x}" / "results" / "go").touch()
    first.join()
    until(lambda: (cluster.results / ".jobs" / "other" / f"{2:032x}" / BEGAN).is_file())
    (cluster.results / ".jobs" / "other" / f"{2:032x}" / "results" / "go").touch()
    waiting.join()
    assert [outcome.status for outcome in (*came, *later)] == [Status.OK] * 2
    assert cluster.said[0].endswith("cells wait for room")


# --- A Slurm that does not answer -----------------------------------------------------------------------------------
@pytest.mark.parametrize("said", ["Protocol authentication error", "", "Unexpected missing socket error"])
def test_a_query_that_is_refused_is_no_answer_once_there_was_one(cluster, said):
    asked = Watch(cluster.said.append)
    assert asked.jobs() == {}
    (cluster.place / "silence").write_text(said)
    assert [asked.jobs(since=time.monotonic()) for _ in range(3)] == [None] * 3
    with pytest.raises(EngineError, match="squeue refuses"):
        asked.now()
    assert len(cluster.said) == 1
    (cluster.place / "silence").unlink()
    until(lambda: asked.jobs() == {})


def test_what_refuses_the_first_query_ends_a_run(cluster):
    (cluster.place / "silence").write_text("Protocol authentication error")
    with pytest.raises(EngineError, match="Protocol authentication error"):
        cluster.engine().cells()


def test_a_slow_query_does_not_silence_the_watch_for_long_and_a_failed_one_leaves_nothing_stale(cluster, monkeypatch):
    asked, clock = Watch(), SimpleNamespace(now=1000.0)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow() -> list[watch.Job]:
        clock.now += 120.0
        raise watch.EngineGoneError("silence")

    asked.jobs()
    clock.now += 10
    monkeypatch.setattr(watch.commands, "jobs", slow)
    assert (asked.jobs(), asked.jobs()) == (None, None)
    assert clock.now == 1130.0, "asked once"
    monkeypatch.setattr(watch.commands, "jobs", list)
    clock.now += watch.SELDOM + 1
    assert asked.jobs() == {}


# --- Leaving and taking over ----------------------------------------------------------------------------------------
def test_after_an_error_of_ours_jobs_go_on_and_are_taken_over(cluster):
    own = cluster.engine("while [ ! -e $1/go ]; do sleep 0.05; done; " + GOOD)
    thread, came = cluster.beside(own, 1)
    until(lambda: [path for path in cluster.left if (path / BEGAN).is_file()])
    own.leave()
    thread.join()
    assert (came[0].document, cluster.jobs, len(cluster.left)) == (None, ["RUNNING"], 1)
    assert cluster.said == ["1 job left to the next run, which takes over what goes on"]
    (cluster.left[0] / "results" / "go").touch()
    assert cluster.run(cluster.engine(), 2).status is Status.OK
    assert len(cluster.jobs) == 1


def test_while_the_question_is_open_a_job_that_ends_keeps_its_folder(cluster):
    (cluster.place / "stuck").touch()
    asked, answered = threading.Event(), threading.Event()

    def confirm(question: str) -> bool:
        asked.set()
        return answered.wait(10)

    own = cluster.engine("while [ ! -e $1/go ]; do sleep 0.05; done; exit 1", confirm)
    thread, came = cluster.beside(own, 1)
    until(lambda: [path for path in cluster.left if (path / BEGAN).is_file()])
    stopping = threading.Thread(target=own.stop)
    stopping.start()
    assert asked.wait(10)
    (cluster.left[0] / "results" / "go").touch()
    thread.join()
    assert (came[0].status, len(cluster.left)) == (Status.FAILED, 1)
    answered.set()
    stopping.join()


def test_a_cancelled_job_leaves_no_folder(cluster):
    own = cluster.engine("sleep 1")
    thread, _ = cluster.beside(own)
    until(lambda: own._running)
    own.stop()
    thread.join()
    assert (cluster.jobs, cluster.left) == (["CANCELLED"], [])


@pytest.mark.parametrize("state", ["COMPLETED", ""])
def test_a_result_that_is_visible_late_is_taken_over(cluster, state):
    folder = cluster.left_by_another(cluster.claims.label("key"), ended=False, state=state)
    timer = threading.Timer(0.2, finish, [folder])
    timer.start()
    assert cluster.run(cluster.engine()).status is Status.OK
    assert not list(cluster.place.glob("*.script"))


def test_jobs_under_the_same_key_are_taken_over_from_the_dead_and_left_to_the_living(cluster):
    claim = cluster.claims.take("cell-x")
    assert claim is not None
    folder = cluster.left_by_another(cluster.claims.label("cell-x"), ended=True)
    outcome = cluster.run(cluster.engine())
    outcome.settled()
    assert (folder.path.is_dir(), sorted(cluster.jobs)) == (True, ["COMPLETED", "RUNNING"])
    claim.release()
    assert cluster.run(cluster.engine(), 1).status is Status.OK
    assert folder.order is not None
    assert folder.order.claim == cluster.claims.label("key")
    assert len(list(cluster.place.glob("*.script"))) == 1


def test_jobs_of_a_copied_results_folder_are_not_ours_to_end(cluster):
    folder = cluster.left_by_another("another.1/key", ended=False)
    cluster.run(cluster.engine())
    assert not folder.path.exists()
    assert (cluster.place / "9.job").read_text().split("|")[1] == "RUNNING"

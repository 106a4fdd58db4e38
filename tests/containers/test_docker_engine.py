"""The Docker engine against containers that behave badly: each ends as what it is, and leaves nothing behind."""

import ast
import json
import shlex
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from docker.errors import APIError

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.events import Parity
from orchestrator.engines import by_hand, kernel_cache, results_volume
from orchestrator.engines.docker import CLAIM, GPU, DockerEngine, isolation
from orchestrator.engines.protocol import Task
from tests.unit.cell.test_contract import DOCUMENT

pytestmark = pytest.mark.container

BASE = "python:3.11-slim-bookworm"
PIDS = isolation(memory=0)["pids_limit"]
CELL = Cell("pytorch", "rnn", data="synthetic")


@dataclass(frozen=True)
class Probe:
    """An image by its tag, which is all that running a container needs."""

    tag: str


@pytest.fixture(scope="module")
def probe(engine, tmp_path_factory):
    """An image whose entry point runs the Python code that the test puts into the cell's library."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text("import sys\nexec(sys.argv[1])\n")
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN useradd --uid 10001 rosetta && mkdir /results /data && chown rosetta /results\n"
        'COPY probe.py /\nENTRYPOINT ["python", "-u", "/probe.py"]\n'
    )
    tag = "rosetta/probe:test"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(folder)], check=True, capture_output=True)
    yield Probe(tag)
    subprocess.run(["docker", "image", "rm", "--force", tag], check=True, capture_output=True)


@pytest.fixture
def outcome_of(engine, probe):
    """Run Python code as a cell, check that its container is gone, return the outcome."""
    docker_engine = DockerEngine()

    def run(code: str, on_event=lambda event: None, **limits):
        task = Task(Cell(code, "rnn", data="synthetic"), probe, "key", "run", **limits)
        outcome = docker_engine.run(task, on_event)
        assert docker_engine.api.containers(all=True, filters={"label": "rosetta.key=key"}) == []
        return outcome

    yield run
    docker_engine.api.close()


def writes(content: str) -> str:
    return f"open('/results/a.json', 'w').write({content!r})"


def test_a_valid_document_is_success_whatever_the_exit_code(outcome_of):
    outcome = outcome_of(writes(json.dumps(DOCUMENT)) + "; sys.exit(3)")
    assert outcome.status is Status.OK
    assert outcome.document.quality == DOCUMENT["quality"]


def test_events_and_log_come_back(outcome_of):
    events = []
    outcome = outcome_of('print(\'{"event": "parity", "epoch": 1}\'); print(\'words\')', events.append)
    assert events == [Parity(event="parity")]
    assert "words" in outcome.log


ONCE_HARMFUL = """
for loss in ("9" * 400, "[" * 900 + "]" * 900, "NaN"):
    print('{"event": "epoch", "epoch": 1, "epochs": 2, "loss": %s}' % loss)
print('{"event": "epoch", "epoch": "a", "epochs": 2, "loss": 0.5}')
"""


def test_lines_that_once_ended_a_run_are_text_of_their_cell(outcome_of):
    events = []
    outcome = outcome_of(ONCE_HARMFUL + writes(json.dumps(DOCUMENT)), events.append)
    assert (outcome.status, events) == (Status.OK, [])
    assert outcome.log.count('{"event"') == 4


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("print('done')", Status.FAILED, "left no result although it ended with exit code 0: done"),
        ("raise ValueError('no such layer')", Status.FAILED, "exit code 1: ValueError: no such layer"),
        (writes("{}"), Status.FAILED, "contract version none"),
        (writes(json.dumps(DOCUMENT)[:100]), Status.FAILED, "not a valid result"),
        (writes(json.dumps({**DOCUMENT, "contract": 3})), Status.FAILED, "contract version 3"),
        ("open('/results/a.json', 'w').write(' ' * 5_000_000)", Status.FAILED, "more than"),
        ("open('/results/a.bin', 'w').write(' ' * 10_000_000)", Status.FAILED, "holds more than a result may have"),
        (writes("{}") + "; open('/results/b.json', 'w').write('{}')", Status.FAILED, "not a single plain document"),
        ("import os; os.symlink('/etc/passwd', '/results/a.json')", Status.FAILED, "not a single plain document"),
        ("import os; os.mkfifo('/results/a.json')", Status.FAILED, "not a single plain document"),
    ],
)
def test_bad_endings_are_failures_with_their_reason(outcome_of, code, status, reason):
    outcome = outcome_of(code)
    assert outcome.status is status
    assert reason in outcome.reason
    assert outcome.document is None


def test_a_cell_past_its_deadline_is_killed(outcome_of):
    outcome = outcome_of("import time; time.sleep(600)", deadline=1.0)
    assert outcome.status is Status.TIMEOUT


def test_a_cell_that_eats_the_memory_is_told_from_one_that_fails(outcome_of):
    outcome = outcome_of("a = [bytearray(2**20) for _ in range(2000)]", memory=256 * 2**20)
    assert outcome.status is Status.OOM


ISOLATED = """
import os, socket
def refused(action):
    try: action()
    except OSError: return True
    return False
def takes(folder):
    return not refused(lambda: open(os.path.join(folder, "x"), "w"))
assert os.getuid() != 0
assert refused(lambda: socket.create_connection(("1.1.1.1", 53), timeout=2))
assert [name for _, name in socket.if_nameindex()] == ["lo"]
assert refused(lambda: os.setuid(0)) and refused(lambda: os.chroot("/tmp"))
assert not any(word in name for name in os.environ for word in ("TOKEN", "SECRET", "PASSWORD"))
status = open("/proc/self/status").read()
held = [line for line in status.splitlines() if line.startswith("Cap") and line.split()[1].strip("0")]
assert not held and "NoNewPrivs:\\t1" in status, held
assert len([name for name in os.listdir("/proc") if name.isdigit()]) < 10
assert os.listdir("/home") == [] and not any(map(os.path.exists, ("/scratch", "/checkout", "/var/run/docker.sock")))
others = [name for name in os.listdir("/") if name not in ("proc", "sys")]
folders = ["/"] + [folder for top in others for folder, _, _ in os.walk("/" + top)]
print("writes to", sorted(folder for folder in folders if takes(folder)))
"""


def test_a_cell_has_no_network_no_root_and_nothing_to_write_but_results_and_tmp(outcome_of):
    outcome = outcome_of(ISOLATED + "assert os.getuid() == 10001")
    assert "writes to ['/dev/mqueue', '/dev/shm', '/results', '/tmp']" in outcome.log, outcome.reason


def test_a_cell_is_told_no_server_of_the_host(outcome_of):
    outcome = outcome_of("print(sorted(open('/etc/resolv.conf').read().split()))")
    words = ast.literal_eval(next(line for line in outcome.log.splitlines() if line.startswith("[")))
    assert words.count("nameserver") == words.count("127.0.0.1") == 1
    of_the_host = {line.split()[-1] for line in Path("/etc/resolv.conf").read_text().splitlines() if line.split()}
    assert not (of_the_host - {"127.0.0.1", "."}) & set(words)


def test_a_cell_by_hand_is_denied_what_a_cell_is_denied(probe, tmp_path):
    line = by_hand.command(CELL, probe.tag, tmp_path, None)
    line = line.replace(f"{probe.tag} {CELL.library} ", f"{probe.tag} {shlex.quote(ISOLATED)} ")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "writes to ['/dev/mqueue', '/dev/shm', '/results', '/tmp']" in done.stdout, done.stderr
    assert [path.parent.name for path in tmp_path.rglob("x")] == [next((tmp_path / by_hand.FOLDER).iterdir()).name]


FORKS = """
import os, time
children = 0
while True:
    try: child = os.fork()
    except BlockingIOError: break
    if child == 0: time.sleep(600)
    children += 1
print("forks refused after", children)
"""


def test_a_fork_bomb_stops_at_a_limit_and_leaves_no_process(outcome_of):
    outcome = outcome_of(FORKS)
    said = [line for line in outcome.log.splitlines() if "forks refused after" in line]
    assert said, outcome.reason
    assert 1000 < int(said[0].split()[-1]) < PIDS
    for name in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert b"forks refused after" not in name.read_bytes()


@pytest.mark.parametrize("exits", ["sys.exit(137)", "sys.exit(143)", "import os; os.kill(os.getpid(), 9)"])
def test_a_cell_that_ends_itself_like_a_killed_one_has_failed(outcome_of, exits):
    outcome = outcome_of(exits)
    assert outcome.status is Status.FAILED
    assert "exit code 1" in outcome.reason


MANY = """
import os
made = written = 0
try:
    while True:
        with open('/results/%d' % made, 'wb') as file: file.write(bytes(2**17))
        made, written = made + 1, written + 2**17
except OSError as error: print(error)
try:
    while True:
        os.mkdir('/results/d%d' % made); made += 1
except OSError as error: print(error)
print('left', made, written)
"""


@pytest.mark.alone
@pytest.mark.usefixtures("no_volume_left")
def test_many_files_fill_no_disk_and_are_gone(outcome_of):
    outcome = outcome_of(MANY)
    (said,) = (line.split() for line in outcome.log.splitlines() if line.startswith("left"))
    assert int(said[1]) <= results_volume.MOST_FILES
    assert 0 < int(said[2]) <= results_volume.SIZE
    assert "No space left on device" in outcome.log


def test_a_folder_is_not_kept_by_a_keeper_that_was_started_again(engine):
    docker_engine = DockerEngine()
    folders = results_volume.ResultsFolders(docker_engine.api)
    with folders.one({"rosetta.run": "test"}, 2) as first:
        assert first.is_kept(docker_engine.api)
        for action in ("kill", "start"):
            getattr(engine.containers.get(first.keeper), action)()
        assert not first.is_kept(docker_engine.api)
        with folders.one({"rosetta.run": "test"}, 1) as second:
            assert second.keeper != first.keeper
    docker_engine.api.close()


def test_the_next_keeper_is_there_when_the_last_folder_of_one_is_in_use(engine):
    docker_engine, labels = DockerEngine(), {"rosetta.run": "ahead"}
    folders = results_volume.ResultsFolders(docker_engine.api)
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        first = stack.enter_context(folders.one(labels, 1, pool.submit))
        pool.shutdown()
        (ahead,) = {one.id for one in engine.containers.list(filters={"label": "rosetta.run=ahead"})} - {first.keeper}
        assert stack.enter_context(folders.one(labels, 1, failing)).keeper == ahead
        last = stack.enter_context(folders.one(labels, 1))
        assert last.keeper not in (first.keeper, ahead)  # what could not be started ahead is started now
        assert last.is_kept(docker_engine.api)
    assert not engine.containers.list(filters={"label": "rosetta.run=ahead"})
    docker_engine.api.close()


def failing(work: Callable[[], object]) -> Future:
    """What the engine answers when it is just being restarted."""
    future = Future()
    future.set_exception(APIError("the engine is shutting down"))
    return future


def test_the_keeper_does_nothing_and_has_nothing(engine):
    docker_engine = DockerEngine()
    with results_volume.ResultsFolders(docker_engine.api).one({"rosetta.run": "test"}, 1) as folder:
        assert docker_engine.api.inspect_volume(folder.volume)["Options"]["type"] == "tmpfs"
        state = docker_engine.api.inspect_container(folder.keeper)
        assert state["State"]["Running"]
        assert (state["HostConfig"]["NetworkMode"], state["HostConfig"]["CapDrop"]) == ("none", ["ALL"])
        assert state["Config"]["User"] == "10001:10001"
    assert results_volume.image(docker_engine.api) == state["Image"]  # made once
    docker_engine.api.close()


@pytest.mark.alone
@pytest.mark.usefixtures("no_volume_left")
@pytest.mark.parametrize("folder", ["/tmp", "/results", "/dev/shm"])
def test_a_cell_that_fills_the_disk_fails_and_what_it_wrote_is_gone(outcome_of, folder):
    outcome = outcome_of(f"file = open('{folder}/full', 'wb')\nwhile True: file.write(bytes(2**24)); file.flush()")
    assert outcome.status is Status.FAILED
    assert ("No space left on device" if folder == "/results" else "File too large") in outcome.log


FILLS = """
import os
def size(folder):
    written, largest = 0, 0
    try:
        for number in range(100):
            with open('%s/filling%d' % (folder, number), 'wb', 0) as file:
                try:
                    while True: written += file.write(bytes(2**24))
                except OSError as error:
                    largest = max(largest, file.tell())
                    if error.errno == 28: break
    except OSError: pass
    for name in os.listdir(folder):
        if name.startswith('filling'): os.remove(os.path.join(folder, name))
    return '%d %d' % (written // 2**20, largest // 2**20)
print('took', size('/tmp'), size('/dev/shm'), size('/var/tmp'), size('/dev'))
"""


def assert_filled(log: str) -> None:
    """What FILLS says: no file grows over half a gigabyte, and all that a cell may write to is full in time."""
    (took,) = (list(map(int, line.split()[1:])) for line in log.splitlines() if line.startswith("took"))
    assert took[1] == took[3] == isolation(memory=0)["ulimits"][0].hard >> 20
    assert 1024 < took[0] <= 2048
    assert 512 < took[2] <= 1024 + 64
    assert took[4] <= 64  # nothing but with Apptainer
    assert took[6] <= 64


def test_tmp_and_shared_memory_are_bounded(outcome_of):
    assert_filled(outcome_of(FILLS, memory=4 * 2**30).log)


def test_a_cell_that_is_killed_from_outside_is_told_from_one_that_fails(outcome_of, engine):
    def kill(event) -> None:
        (container,) = engine.containers.list(filters={"label": "rosetta.key=key"})
        container.kill()

    outcome = outcome_of('import time; print(\'{"event": "parity"}\'); time.sleep(600)', kill)
    assert (outcome.status, outcome.reason) == (Status.HOST_LOST, "ended from outside by SIGKILL")


@pytest.mark.parametrize("end", ["kill", "remove"])
def test_a_cell_whose_results_are_taken_from_outside_has_not_failed(outcome_of, engine, end):
    def take(event) -> None:
        (keeper,) = engine.containers.list(filters={"label": ["rosetta=keeper", "rosetta.run=run"]})
        if end == "kill":
            keeper.kill()
        else:
            keeper.remove(force=True)

    said = f'import time; print(\'{{"event": "parity"}}\'); time.sleep(2); {writes(json.dumps(DOCUMENT))}'
    outcome = outcome_of(said, take)
    assert (outcome.status, outcome.reason) == (Status.HOST_LOST, "its results folder was removed from outside")


OWNER = "folder/run-test"
SEES = 'import os, time; print(\'{"event": "parity"}\'); print("sees", os.listdir("/results")); time.sleep(0.5); '


def keepers(engine) -> set[str]:
    """The ids of the keepers that cells of OWNER share."""
    return {one.id for one in engine.containers.list(filters={"label": ["rosetta=keeper", f"{CLAIM}={OWNER}"]})}


def test_cells_of_a_run_share_keepers_and_each_has_an_empty_folder_of_its_own(outcome_of, engine):
    seen = []
    code = SEES + writes(json.dumps(DOCUMENT))
    for _ in range(results_volume.KEPT + 1):
        outcome = outcome_of(code, lambda event: seen.append(keepers(engine)), owner=OWNER)
        assert outcome.status is Status.OK, outcome.reason
        assert "sees []" in outcome.log
    assert all(len(one) == 1 for one in seen)
    assert len(set.union(*seen)) == 2
    assert keepers(engine) == seen[-1]  # the first went with the last of its folders
    DockerEngine().remove(*seen[-1])


def test_a_keeper_that_is_killed_costs_later_cells_nothing(outcome_of, engine):
    def kill(event) -> None:
        engine.containers.get(*keepers(engine)).kill()

    code = SEES + writes(json.dumps(DOCUMENT))
    assert outcome_of(code, kill, owner=OWNER).status is Status.HOST_LOST
    assert outcome_of(code, owner=OWNER).status is Status.OK
    DockerEngine().remove(*keepers(engine))


def test_the_next_cell_does_not_wait_until_the_last_is_removed(engine, probe, monkeypatch):
    docker_engine, may = DockerEngine(), threading.Event()
    remove = docker_engine.remove
    monkeypatch.setattr(docker_engine, "remove", lambda handle: (may.wait(60), remove(handle)))
    task = Task(Cell(writes(json.dumps(DOCUMENT)), "rnn", data="synthetic"), probe, "key", "late")
    here = partial(engine.containers.list, all=True, filters={"label": "rosetta.run=late"})
    with docker_engine.working_beside():
        assert [docker_engine.run(task, lambda event: None).status for _ in range(2)] == [Status.OK] * 2
        assert [one.status for one in here() if "rosetta.key" in one.labels] == ["exited"] * 2
        may.set()
    assert here() == []
    docker_engine.api.close()


def test_a_cell_that_is_broken_off_is_removed_at_once(engine, probe):
    def broken(event) -> None:
        raise KeyboardInterrupt

    docker_engine = DockerEngine()
    code = 'print(\'{"event": "parity", "epoch": 1}\'); import time; time.sleep(60)'
    with docker_engine.working_beside():
        with pytest.raises(KeyboardInterrupt):
            docker_engine.run(Task(Cell(code, "rnn", data="synthetic"), probe, "key", "broken"), broken)
        assert engine.containers.list(all=True, filters={"label": "rosetta.run=broken"}) == []
    docker_engine.api.close()


def test_what_the_engine_refuses_has_failed_and_an_image_that_is_gone_may_come_back(engine):
    docker_engine = DockerEngine()
    task = Task(CELL, Probe("rosetta/probe:none"), "key", "run", claim="folder/key")
    assert docker_engine.run(task, lambda event: None).status is Status.HOST_LOST
    outcome = docker_engine.run(replace(task, image=Probe(BASE), memory=1), lambda event: None)
    assert outcome.status is Status.FAILED
    assert outcome.reason.startswith("the engine refused: ")
    docker_engine.api.close()


def test_an_attempt_removes_what_was_left_of_the_cell_or_on_its_gpu(engine, probe):
    docker_engine = DockerEngine()
    labels = [{CLAIM: "folder/key"}, {CLAIM: "other/key", f"{GPU}GPU-pretended-0": "held"}, {CLAIM: "other/key"}]
    made = [engine.containers.create(probe.tag, ["-"], labels=each).id for each in labels]
    docker_engine._remove_orphans(Task(CELL, probe, "key", "run", ("GPU-pretended-0",), claim="folder/key"))
    left = docker_engine.cells()
    assert [container in left for container in made] == [False, False, True]
    docker_engine.remove(made[2])
    assert made[2] not in docker_engine.cells()
    docker_engine.api.close()


def test_a_gigabyte_of_output_is_cut(outcome_of):
    outcome = outcome_of("for _ in range(1000): print(('x' * 999 + '\\n') * 1000)")
    assert "left no result" in outcome.reason  # it came to its end
    assert 0 < len(outcome.log) < 2**20


def test_a_container_that_is_being_made_when_the_run_is_stopped_does_not_go_on(engine, probe):
    docker_engine = DockerEngine()
    start = docker_engine.api.start

    def start_after_stop(container):
        docker_engine.stop()  # finds the container made but not running
        start(container)

    docker_engine.api.start = start_after_stop
    task = Task(Cell("import time; time.sleep(600)", "rnn"), probe, "key", "run", deadline=60)
    outcome = docker_engine.run(task, lambda event: None)
    assert outcome.status is Status.HOST_LOST  # not a timeout: it was ended at once
    assert docker_engine.api.containers(all=True, filters={"label": "rosetta.key=key"}) == []
    docker_engine.api.close()


def test_kernels_are_kept_for_the_cells_of_one_image_who_can_write_there(probe):
    api = DockerEngine().api
    image, base = (api.inspect_image(tag)["Id"] for tag in (probe.tag, BASE))
    with_cell = ["docker", "run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", "--user=10001:10001"]

    def names():
        return {volume["Name"] for volume in api.volumes(filters={"label": "rosetta=kernels"})["Volumes"] or []}

    name = kernel_cache.prepare(api, image, probe.tag, "v100", (535, 104))
    try:
        code = f"f = open('{kernel_cache.FOLDER}/index', 'a'); f.write('x'); print(f.tell())"
        for size in (1, 2):  # what one cell leaves, the next one has
            assert kernel_cache.prepare(api, image, probe.tag, "v100", (535, 104)) == name
            command = [*with_cell, "-v", f"{name}:{kernel_cache.INSIDE}", probe.tag, code]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == str(size), done.stderr
        other_card = kernel_cache.prepare(api, image, probe.tag, "k80", (535, 104))
        assert {name, other_card} <= names()
        successor = kernel_cache.prepare(api, base, probe.tag, "v100", (535, 104))  # the tag is another image now
        assert successor in names()
        assert not {name, other_card} & names()
    finally:
        for left in names():
            if image.removeprefix("sha256:")[:12] in left or base.removeprefix("sha256:")[:12] in left:
                api.remove_volume(left)

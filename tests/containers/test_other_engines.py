"""Podman and Apptainer as an ordinary user of a node has them: what they deny a cell, and what qualities come out."""

import io
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.engines.results_volume import MOST_FILES, SIZE
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.image import image_for
from orchestrator.publish.publishing import Published
from tests.containers.node import PYTHON, USER, running_node
from tests.containers.registry import PASSWORD, PROGRAM, registry
from tests.containers.registry import USER as USER_OF_REGISTRY
from tests.containers.test_docker_engine import FILLS, ISOLATED, MANY, assert_filled
from tests.unit.cell.test_contract import DOCUMENT

pytestmark = pytest.mark.container

BASE = "python:3.11-slim-bookworm"
ENGINES = ("podman", "apptainer")
SELECTED = ["--only", "{chainer-2018,mxnet-r,pytorch}/{cnn,rnn}/cpu", "--profile", "try"]
SHORT = ["--epochs", "1", "--samples", "256"]
"""An old library, one in R and one of today."""

MEMORY = 2**30

FORKS = """
import os, time
children = 0
while children < 4000:
    try: child = os.fork()
    except BlockingIOError: break
    if child == 0: time.sleep(600)
    children += 1
print("forks refused after", children)
"""

DATA = """
assert open("/data/words").read() == "read me"
assert refused(lambda: open("/data/x", "w")) and refused(lambda: os.remove("/data/words")) # with data
"""

VALID = f"open('/results/a.json', 'w').write({json.dumps(DOCUMENT)!r})"
EVENT = 'import time; print(\'{"event": "parity", "epoch": 1}\')'

CELLS = {
    "valid": (f"{EVENT}; {VALID}; sys.exit(3)", {}),
    "private": (f"{VALID}; os.chmod('/results/a.json', 0o600); os.chmod('/results', 0o700)", {}),
    "isolated": (ISOLATED + DATA, {}),
    "forks": (FORKS, {}),
    "many": (MANY, {}),
    "fills": (FILLS, {"memory": 4 * MEMORY}),
    "eats": ("a = [bytearray(2**20) for _ in range(2000)]", {"memory": MEMORY}),
    "late": ("import time; time.sleep(600)", {"deadline": 2.0}),
    "killed": (f"{EVENT}; time.sleep(600) # kill me", {}),
    "stopped": (f"{EVENT}; time.sleep(600) # stop me", {}),
    "stopped at its start": ("import time; time.sleep(600) # stop at my start", {"deadline": 60.0}),
    "taken": (f"{EVENT}; time.sleep(2); {VALID} # take mine", {}),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", {}),
    "orphans": (f"{VALID} # left behind", {}),
    "no image": ("pass # no image", {}),
    "talks": ("print(('x' * 999 + '\\n') * 20000); raise ValueError('no such layer')", {}),
    "link": ("import os; os.symlink('/etc/passwd', '/results/a.json')", {}),
    "pipe": ("import os; os.mkfifo('/results/a.json')", {}),
    "two": ("[open('/results/%s.json' % name, 'w').write('{}') for name in 'ab']", {}),
    "holes": ("open('/results/a.json', 'w').truncate(2**28)", {}),
    "cores": ("import os; print('cores', sorted(os.sched_getaffinity(0)))", {"cores": [0]}),
}
"""Code of hostile cells by a name, and what their tasks say beside it."""


def rosetta(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "rosetta"), *words]
    return subprocess.run(command, cwd=cwd, env=os.environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def docker_run(engine, tmp_path_factory):
    """The rows of the selected cells by Docker, on this machine."""
    folder = tmp_path_factory.mktemp("docker")
    done = rosetta("run", *SELECTED, *SHORT, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return pq.read_table(folder / "results" / "merged.parquet").to_pylist()


@pytest.fixture(scope="module")
def node(engine, tmp_path_factory):
    """A node with archives of the images, and of one whose entry point runs the code that it is given."""
    folder = tmp_path_factory.mktemp("node")
    images, source = folder / "images", folder / "probe"
    for words in (["build"], ["images", "save", "--output", "images"]):
        done = rosetta(*words, *SELECTED[:2], cwd=folder)
        assert done.returncode == 0, done.stderr
    source.mkdir()
    (source / "probe.py").write_text("import sys\nexec(sys.argv[1])\n")
    (source / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN useradd --uid 10001 rosetta && mkdir /results /data /workloads && chown rosetta /results\n"
        'COPY probe.py /\nENTRYPOINT ["python", "-u", "/probe.py"]\n'
    )
    tag = "rosetta/probe:node"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(source)], check=True, capture_output=True)
    subprocess.run(["docker", "save", "--output", str(images / "probe"), tag], check=True)
    for path in images.iterdir():
        path.chmod(0o644)
    with running_node(images) as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def ended(node, request):
    """How each of the hostile cells ended, by its name, under one of the engines."""
    words = [PYTHON, "/checkout/tests/containers/cells_on_node.py", request.param, "/images/probe"]
    secret = {"ROSETTA_TOKEN": "x", "APPTAINERENV_SECRET": "x", "SINGULARITYENV_PASSWORD": "x"}
    done = node.run(*words, stdin=json.dumps(list(CELLS.values())), **secret)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert request.param in told["version"].lower()
    return {"engine": request.param, **dict(zip(CELLS, told["ended"], strict=True))}


def test_a_document_and_events_come_back_whatever_the_exit_code(ended):
    assert (ended["valid"]["status"], ended["valid"]["quality"]) == ("ok", DOCUMENT["quality"])
    assert len(ended["valid"]["events"]) == 1


def test_a_document_comes_back_that_only_its_cell_may_read(ended):
    assert (ended["private"]["status"], ended["private"]["quality"]) == ("ok", DOCUMENT["quality"])


def test_a_cell_has_no_network_no_root_no_home_and_few_places_to_write_to(ended):
    places = {
        "podman": "['/dev/mqueue', '/dev/shm', '/results', '/tmp']",
        "apptainer": "['/dev', '/dev/mqueue', '/dev/shm', '/results', '/tmp', '/var/tmp']",
    }
    assert f"writes to {places[ended['engine']]}" in ended["isolated"]["log"], ended["isolated"]


def test_a_cell_is_an_unprivileged_user_outside_too(ended):
    """A subordinate id of the user, whose first is root inside, or else the user himself."""
    assert ended["taken"]["owners"] == [{"podman": 100000 + 10001 - 1, "apptainer": 1000}[ended["engine"]]]


def test_what_a_cell_writes_to_is_bounded(ended):
    (left,) = (line.split() for line in ended["many"]["log"].splitlines() if line.startswith("left"))
    assert int(left[1]) <= MOST_FILES
    assert 0 < int(left[2]) <= SIZE
    assert "No space left on device" in ended["many"]["log"]
    assert_filled(ended["fills"]["log"])


def test_a_fork_bomb_stops_at_a_limit(ended):
    (said,) = (line for line in ended["forks"]["log"].splitlines() if "forks refused after" in line)
    assert 1000 < int(said.split()[-1]) < 2048


def test_a_cell_that_eats_the_memory_ends_where_its_processes_are_held_and_a_row_says_where_not(ended):
    if ended["engine"] == "apptainer":
        assert ended["eats"]["status"] == "failed"
        assert "MemoryError" in ended["eats"]["reason"]
        assert "memory: limit of each process" in ended["eats"]["limits"]
    else:
        assert "memory: that of the machine" in ended["eats"]["limits"]


def test_cores_are_held_by_apptainer_and_a_row_says_where_they_are_not(ended):
    if ended["engine"] == "apptainer":
        assert "cores [0]" in ended["cores"]["log"]
        assert "cores: affinity" in ended["cores"]["limits"]
    else:
        assert "cores: not held" in ended["cores"]["limits"]


def test_deadline_stop_and_a_kill_from_outside_are_told_apart(ended):
    assert ended["late"]["status"] == "timeout"
    assert ended["killed"]["status"] == "host_lost"
    assert ended["killed"]["reason"].endswith("SIGKILL")
    assert ended["stopped"]["status"] == ended["stopped at its start"]["status"] == "host_lost"
    assert (ended["kills itself"]["status"], ended["kills itself"]["reason"]) == ("failed", "exit code 137")


def test_what_is_gone_may_come_back(ended):
    assert ended["no image"]["status"] == "host_lost"
    if ended["engine"] == "podman":
        assert (ended["taken"]["status"], ended["taken"]["quality"]) == ("host_lost", None)
    else:  # what its cell leaves nobody else can reach
        assert ended["taken"]["status"] == "ok"


def test_a_cell_leaves_nothing_and_one_removes_what_was_left_of_it(ended):
    cells = {name: how for name, how in ended.items() if name != "engine"}
    assert {name for name, how in cells.items() if how["processes"]} == set()
    assert cells["orphans"]["status"] == "ok"
    assert set(cells["orphans"]["before"]) == {"folder/key", "folder/other"}
    assert {name: how["left"] for name, how in cells.items() if how["left"]} == {"orphans": ["folder/other"]}


def test_a_long_log_is_cut_and_its_end_is_the_reason(ended):
    assert ended["talks"]["reason"] == "exit code 1: ValueError: no such layer"
    assert 0 < ended["talks"]["logged"] < 2**20


@pytest.mark.parametrize("name", ["link", "pipe", "two", "holes"])
def test_what_is_no_plain_single_document_is_refused(ended, name):
    assert ended[name]["status"] == "failed"
    assert ended[name]["quality"] is None


@pytest.mark.parametrize("engine_name", ENGINES)
def test_an_ordinary_user_gets_the_qualities_of_docker(docker_run, node, engine_name):
    built = node.rosetta("build", "--engine", engine_name, *SELECTED)
    assert built.returncode == 0, built.stderr
    done = node.rosetta("run", "--engine", engine_name, *SELECTED, *SHORT, "--results", f"/scratch/{engine_name}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = pq.read_table(io.BytesIO(node.read(f"/scratch/{engine_name}/merged.parquet"))).to_pylist()
    quality = {row["cell"]: (row["status"], row["quality"], row["image_digest"], row["base"]) for row in docker_run}
    assert {row["engine"] for row in found} == {engine_name}
    assert len(found) == len(docker_run)
    for row in found:
        status, of_docker, digest, base = quality[row["cell"]]
        assert (row["status"], row["image_digest"], row["base"]) == (status, digest, base)
        assert row["quality"] == pytest.approx(of_docker, abs=0.02)
        assert row["limits"]


PUBLISHES = """
set -e
mkdir -p /scratch/small /scratch/published
printf 'FROM scratch\\nCOPY Dockerfile /\\n' >/scratch/small/Dockerfile
podman build --quiet --tag "$1" --label "rosetta.recipe=$2" --label "rosetta.workloads=$3" /scratch/small >/dev/null
podman push --quiet --tls-verify=false --creds="$4" --digestfile=/scratch/digest "$1"
cat /scratch/digest
"""
LISTED = "0" * 64
"""The id of the built image in a lock file: its published copy has more labels, and an id of its own."""


def test_apptainer_takes_published_images_by_digest_with_its_own_login(node, tmp_path):
    if not PROGRAM.exists():
        pytest.skip("no docker-registry; .ci/tools installs it")
    image = image_for("chainer-2018", "cpu")
    made_of = image.recipe, workloads_digest(image)
    build = "build", "--engine", "apptainer", "--only", "chainer-2018/rnn/cpu"
    places = {"ROSETTA_CACHE": "/scratch/other, cache", "ROSETTA_IMAGES": "/scratch/published"}
    login = {"APPTAINER_DOCKER_USERNAME": USER_OF_REGISTRY, "APPTAINER_DOCKER_PASSWORD": PASSWORD}
    with registry(node.process, tmp_path / "registry") as server:
        name = f"{server.host}/me/{image.tag.removeprefix('rosetta/')}"
        words = ["sh", "-c", PUBLISHES, "sh", name, *made_of, f"{USER_OF_REGISTRY}:{PASSWORD}"]
        pushed = node.run(*words)
        assert pushed.returncode == 0, pushed.stderr
        lock = Published(f"{name}@{pushed.stdout.strip()}", f"sha256:{LISTED}", "", *made_of, None)
        node.run("tee", "/scratch/published/images.json", stdin=json.dumps([asdict(lock)]))
        refused = node.rosetta(*build, **places)
        done = node.rosetta(*build, **places, **login)
    assert (refused.returncode, "authentication required" in refused.stderr) == (6, True), refused.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == [image.tag, f"sha256:{LISTED}"]


LACKING = [
    ("apptainer", {"PATH": "/nowhere"}, "The command 'apptainer' is missing."),
    ("apptainer", {"PATH": "/scratch/few"}, "Programs are missing: unshare, mount, prlimit, taskset, setpriv."),
    ("podman", {"PATH": "/nowhere"}, "The command 'podman' is missing."),
    ("podman", {"CONTAINER_CONNECTION": "far"}, "CONTAINER_CONNECTION=far names a Podman by a name"),
    ("podman", {"CONTAINER_HOST": "unix:///nowhere"}, "No Podman engine answers at unix:///nowhere."),
    ("podman", {"XDG_RUNTIME_DIR": "/nowhere"}, "Podman did not open a socket."),
    ("podman", {"CONTAINER_HOST": ""}, ""),
]


def chosen(node, engine_name, user=USER, **variables):
    """What is said when an engine is chosen on the node."""
    words = [PYTHON, "-c", f"from orchestrator.engines.choice import choose_engine; choose_engine({engine_name!r})"]
    return node.run(*words, user=user, **variables).stderr


@pytest.mark.parametrize(("engine_name", "variables", "said"), LACKING)
def test_what_a_node_lacks_is_said(node, engine_name, variables, said):
    few = "mkdir -p /scratch/few; ln -sf /usr/bin/apptainer /usr/bin/tar /usr/bin/head /scratch/few"
    node.run("sh", "-c", few)
    told = chosen(node, engine_name, **variables)
    assert said in told
    assert bool(told) == bool(said)


def test_a_user_without_subordinate_ids_is_told_so(node):
    node.run("install", "--directory", "--owner=games", "--mode=700", "/scratch/games", user="root")
    told = chosen(node, "podman", "games", HOME="/scratch/games", XDG_RUNTIME_DIR="/scratch/games")
    assert "Podman has too few subordinate ids of yours" in told


KILLED = """
import os
from orchestrator.engines.podman_service import PodmanService
print(PodmanService().opened(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_podmans_service_and_its_folder_go_with_the_process_that_started_it_even_if_that_is_killed(node):
    done = node.run(PYTHON, "-c", KILLED)
    folder = str(Path(done.stdout.strip()).parent)
    assert folder.startswith("/scratch/rosetta-podman-"), done.stderr
    is_there = f"pgrep -f unix://{folder}/podman.[s]ock || [ -e {folder} ]"
    gone = node.run("sh", "-c", f"for n in $(seq 50); do {{ {is_there}; }} || exit 0; sleep 0.2; done; exit 1")
    assert gone.returncode == 0, gone.stdout


def test_docker_s_way_to_podman_is_told_by_its_name(node):
    script = 'podman system service --time=0 unix:///scratch/run/podman.sock & sleep 3; exec "$@"'
    words = [PYTHON, "-c", "from orchestrator.engines.choice import choose_engine; choose_engine('docker')"]
    done = node.run("sh", "-c", script, "sh", *words, DOCKER_HOST="unix:///scratch/run/podman.sock")
    assert "is Podman, not Docker" in done.stderr
    assert "Update Docker" not in done.stderr

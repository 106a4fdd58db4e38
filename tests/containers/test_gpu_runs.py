"""Whole runs on pretended cards, with a real engine: which card a cell gets, how it is refused, what its row keeps."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks import nothing
from benchmarks.private_engine import PrivateEngine
from orchestrator import errors
from orchestrator.images.bases import PYTHON
from orchestrator.images.building import build_probe
from tests.containers.test_compose import compose
from tests.pretended_driver import tiny_checkout
from tests.pretended_driver.machines import MACHINES, STRANGERS, list_devices, machine, sliced

pytestmark = pytest.mark.container

CELLS_FAILED = errors.CellsFailed.exit_code
Row = dict[str, Any]


@pytest.fixture(scope="module")
def tiny(private_engine, tmp_path_factory) -> Iterator[Path]:
    """A checkout of two tiny libraries, whose images the second engine has: it has no network to build them."""
    folder = tiny_checkout.checkout(tmp_path_factory.mktemp("tiny") / "checkout")
    done = nothing.rosetta(folder, "build", "--engine", "docker", "--only", "tiny/rnn/cuda12/*", "--profile", "built")
    assert done.returncode == 0, done.stdout + done.stderr
    private_engine.take_image(tiny_checkout.TAGS[1])
    yield folder
    tiny_checkout.remove_images()


@pytest.fixture
def run(tiny, second_engine, tmp_path):
    """Run cells on the second engine with results of the test's own; returns their rows and what was printed."""

    def run(only: str, *words: str, code: int = 0, host: str = second_engine.socket) -> tuple[list[Row], str]:
        results = tmp_path / "results"
        asked = ["run", "--engine", "docker", "--only", only, "--results", str(results), *words]
        done = nothing.rosetta(tiny, *asked, DOCKER_HOST=host)
        assert done.returncode == code, done.stdout + done.stderr
        return timed(results), done.stdout

    return run


def timed(results: Path) -> list[Row]:
    """The rows of a run; those that prove a card beside them are known for pretended, too."""
    rows = pq.read_table(results / "merged.parquet").to_pylist()
    proofs = [row for row in rows if row["parity"] is not None]
    assert all(row["host"].endswith("(pretended GPUs)") for row in proofs)
    assert not list(results.rglob("*.superseded")), "a proof that was made is found by the next cell"
    return [row for row in rows if row["parity"] is None]


def held(row: Row) -> tuple[datetime, datetime]:
    """From when to when a cell had its card."""
    return row["started"], row["started"] + timedelta(seconds=row["wall_seconds"])


def test_cells_at_the_same_time_never_share_a_card(run, second_engine):
    told = second_engine.pretend("a100")
    rows, _ = run("tiny/rnn/cuda12/*", "--repeats", "4")
    assert [row["status"] for row in rows] == ["ok"] * 4, [row["reason"] for row in rows]
    by_card = defaultdict(list)
    for row in rows:
        by_card[row["gpu_uuids"]].append(held(row))
    assert set(by_card) == {card["uuid"] for card in told["gpus"]}
    for uses in by_card.values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(uses)))
    first, second = by_card.values()
    assert any(a[0] < b[1] and b[0] < a[1] for a in first for b in second), by_card
    for row in rows:
        assert (row["driver"], row["shortened"], row["capability"]) == ("pretended", True, "8.0")
        assert row["gpu_name"] == "pretended NVIDIA A100 80GB PCIe"
        assert row["cpu"].startswith("pretended GPU, ")
        assert row["host"].endswith("(pretended GPUs)")
        assert row["proof"].startswith("parity on this card, run ")
        assert row["gpu_peak_memory"] == tiny_checkout.BYTES


def test_a_card_that_others_use_and_one_that_is_throttled_leave_their_marks(run, second_engine):
    told = second_engine.pretend("busy")
    both = machine("535.104.05", "12.2", *told["gpus"])
    both["gpus"][0].update(temperature=92, throttle=0x1 | 0x4 | 0x40)
    second_engine.pretend(both)
    (row,), _ = run("tiny/rnn/cuda12/*")
    assert (row["status"], row["gpu_others"]) == ("ok", len(STRANGERS))
    (during,) = json.loads(row["gpus_during"])
    assert (during["uuid"], during["temperature"], during["power_limit"]) == ("GPU-pretended-a10g-0", 92, 300)
    assert len(during["throttled"]) == 2  # idle, the first bit, slows nothing down
    assert row["gpu_peak_memory"] == tiny_checkout.BYTES + sum(each["memory"] for each in STRANGERS)


@pytest.mark.parametrize("old", [False, True], ids=["today", "as drivers before 470 call them"])
def test_each_slice_of_a_divided_card_has_a_cell_of_its_own(run, second_engine, old):
    told = sliced("a100-40gb", ["3g.20gb", "3g.20gb"])
    if old:
        for number, part in enumerate(told["slices"]):
            part["uuid"] = f"MIG-pretended-a100/{number + 1}/0"
    second_engine.pretend(machine("535.104.05", "12.2", told))
    rows, printed = run("tiny/rnn/cuda12/*", "--repeats", "2")
    assert [(row["status"], row["gpu"]) for row in rows] == [("ok", "a100-3g-20gb")] * 2, printed
    assert {row["gpu_uuids"] for row in rows} == {part["uuid"] for part in told["slices"]}


def test_a_library_that_falls_back_to_the_cpu_is_not_timed(run, second_engine):
    second_engine.pretend("rtx-4090")
    (row,), printed = run("falls-back/rnn/cuda12/*", code=CELLS_FAILED)
    assert row["status"] == "failed"
    refusal = "the cell was given GPU-pretended-rtx-4090-0 but nothing of it used the card"
    assert row["reason"].startswith("not proved on this card, so not timed: ")
    assert refusal in row["reason"]
    assert refusal in printed
    assert row["seconds"] is None


def test_a_run_by_ssh_uses_the_cards_of_the_engine_there(run, second_engine, address):
    second_engine.pretend("l40s")
    (row,), _ = run("tiny/rnn/cuda12/*", host=f"{address}{second_engine.socket.removeprefix('unix://')}")
    assert (row["status"], row["gpu"], row["gpu_uuids"]) == ("ok", "l40s", "GPU-pretended-l40s-0"), row["reason"]


@pytest.fixture(scope="module")
def engine_of_devices(tiny):
    """An engine without NVIDIA's hook, which knows cards by a device list (CDI) alone."""
    with PrivateEngine(hook=None, devices=True) as engine:
        for image in (PYTHON, build_probe(), tiny_checkout.TAGS[1]):
            engine.take_image(image)
        yield engine


def test_an_engine_that_knows_cards_by_a_device_list_gives_each_cell_its_own(run, engine_of_devices):
    told = list_devices(MACHINES["mixed"], engine_of_devices.folder / "cdi")
    rows, printed = run("tiny/rnn/cuda12/*", host=engine_of_devices.socket)
    assert {row["gpu"]: (row["status"], row["gpu_uuids"]) for row in rows} == {
        "rtx-4090": ("ok", told["gpus"][0]["uuid"]),
        "rtx-2080-ti": ("ok", told["gpus"][1]["uuid"]),
    }, printed
    assert {row["gpu_peak_memory"] for row in rows} == {tiny_checkout.BYTES}


def test_a_device_list_that_does_not_name_cards_by_uuid_is_told_before_a_cell_starts(engine_of_devices, tiny):
    list_devices(MACHINES["mixed"], engine_of_devices.folder / "cdi", names=("all", "0", "1"))
    done = nothing.rosetta(tiny, "plan", "--engine", "docker", DOCKER_HOST=engine_of_devices.socket)
    assert "found no GPU: the engine's device list (CDI) does not name its GPUs by UUID" in done.stdout, done.stderr
    assert "tiny/rnn/cuda12/rtx-4090" not in done.stdout


def test_compose_up_runs_what_the_engines_cards_can_and_says_what_they_cannot(engine, pretended_machine, tmp_path):
    """The compose file as it is: no edit, no option, and no GPU for the orchestrator."""
    checkout = tiny_checkout.checkout(tmp_path / f"rosetta-test-gpus-{os.getpid()}")
    with compose(checkout, "build") as build:
        assert build.stdout is not None
        said = build.stdout.read()
        assert build.wait() == 0, said
    told = pretended_machine("mixed")
    try:
        with compose(checkout) as up:
            assert up.stdout is not None
            said = up.stdout.read()
            assert up.wait() == CELLS_FAILED, said
    finally:
        tiny_checkout.remove_images()
    rows = {row["cell"]: row for row in timed(checkout / "results")}
    here = {name: row for name, row in rows.items() if row["library"] in tiny_checkout.LIBRARIES}
    models = ("rtx-4090", "rtx-2080-ti")
    assert set(here) == {
        f"{library}/rnn/{end}"
        for library in tiny_checkout.LIBRARIES
        for end in ("cpu", *(f"cuda12/{model}" for model in models))
    }
    uuids = dict(zip(models, (card["uuid"] for card in told["gpus"]), strict=True))
    for name, row in here.items():
        if row["platform"] == "cpu" or row["library"] == "tiny":
            assert (row["status"], row["engine"]) == ("ok", "docker"), (name, row["reason"])
            assert row["gpu_uuids"] == uuids.get(row["gpu"])
        else:
            assert row["status"] == "failed"
            assert f"the cell was given {uuids[row['gpu']]} but nothing of it used the card" in row["reason"]
    assert re.search(r"falls-back/rnn/cuda12/rtx-4090 .*nothing of it used the card", said)

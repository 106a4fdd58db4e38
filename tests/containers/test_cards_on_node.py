"""Podman and Apptainer give cells the cards of a node: real engines, an ordinary user, a pretended driver."""

import io
import subprocess
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from benchmarks import nothing
from orchestrator import errors
from tests.containers.node import Node, running_node
from tests.pretended_driver import hook, tiny_checkout
from tests.pretended_driver.machines import MACHINES, list_devices

pytestmark = [pytest.mark.container, pytest.mark.alone]

PREPARE = f"""
set -e
install -d /etc/cdi
cp /images/cards/nvidia.json /etc/cdi
cp /images/cards/{hook.LIBRARY} /usr/lib/x86_64-linux-gnu
ldconfig
install -m 644 /images/cards/all.machine /{hook.MACHINE}
install -m 755 /images/cards/all.machine /usr/bin/nvidia-debugdump
"""
"""Installs the driver: the last file is how its library finds the machine where Apptainer has brought it."""


@pytest.fixture(scope="module")
def node(engine, tmp_path_factory) -> Iterator[Node]:
    """A node with two A100, and a checkout with a library that uses its card and one that does not."""
    folder = tmp_path_factory.mktemp("node")
    checkout = tiny_checkout.checkout(folder / "checkout")
    images, cards = folder / "images", folder / "images" / "cards"
    for words in (["build"], ["images", "save", "--output", str(images)]):
        selected = "--only", "tiny/rnn/cuda12/*", "--profile", "built"
        done = nothing.rosetta(checkout, *words, *selected)
        assert done.returncode == 0, done.stdout + done.stderr
    list_devices(MACHINES["a100"], cards)
    listed = cards / "nvidia.json"
    listed.write_text(listed.read_text().replace(str(images), "/images"))
    subprocess.run(["chmod", "--recursive", "a+rX", folder], check=True)
    with running_node(images, checkout) as running:
        done = running.run("sh", "-c", PREPARE, user="root")
        assert done.returncode == 0, done.stderr
        yield running
    tiny_checkout.remove_images()


@pytest.mark.parametrize("engine_name", ["podman", "apptainer"])
def test_each_cell_has_a_card_of_its_own_and_proves_that_it_used_it(node, engine_name):
    results = f"/scratch/{engine_name}"
    run = ["run", "--engine", engine_name, "--matrix", "/checkout/matrix.yaml", "--results", results]
    done = node.rosetta(*run, "--only", "*/rnn/cuda12/*", "--repeats", "2")
    assert done.returncode == errors.CellsFailed.exit_code, done.stdout + done.stderr
    found = pq.read_table(io.BytesIO(node.read(f"{results}/merged.parquet"))).to_pylist()
    rows = {(row["library"], row["repeat"]): row for row in found if row["parity"] is None}
    used = [rows["tiny", repeat] for repeat in range(2)]
    assert [row["status"] for row in used] == ["ok"] * 2, [row["reason"] for row in used]
    for row in used:
        assert row["gpu_uuids"] in {card["uuid"] for card in MACHINES["a100"]["gpus"]}
        assert (row["gpu_peak_memory"], row["gpu_others"]) == (tiny_checkout.BYTES, 0)
        assert row["proof"].startswith("parity on this card, run ")
    for repeat in range(2):
        assert "nothing of it used the card" in rows["falls-back", repeat]["reason"]

"""What stands below a plan: the cards that were found, and on which of several machines each cell can run."""

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cli.cells import tell_of_gpus
from orchestrator.cli.options import Selection
from orchestrator.plan.verdicts import plan_cells
from orchestrator.report.plan_screen import found
from orchestrator.system.host import Device, Host, Unreadable, together
from tests.unit.plan.test_verdicts import ENGINE

A100 = "NVIDIA A100-SXM4-40GB"
CELLS = [Cell("pytorch", "rnn", platform, "a100") for platform in ("cuda12", "cuda13")]


def node(driver: tuple[int, ...], *devices: Device) -> Host:
    return Host(devices or (Device(A100, "GPU-1", capability=(8, 0)),), driver)


def below(host: Host, tmp_path, cells=CELLS) -> list[str]:
    return list(found(plan_cells(cells, ENGINE, tmp_path, host), host))


def test_cells_are_counted_for_the_machines_that_can_run_them(tmp_path):
    assert below(together([node((470, 57)), node((580, 65)), node((580, 65)), node((525, 60))]), tmp_path) == [
        "found 1 × NVIDIA A100-SXM4-40GB (a100), driver 470.57: no cell can run on it",
        "found 2 × 1 × NVIDIA A100-SXM4-40GB (a100), driver 580.65: 2 cells on cuda12, cuda13",
        "found 1 × NVIDIA A100-SXM4-40GB (a100), driver 525.60: 1 cell on cuda12",
    ]


def test_unlike_boards_have_their_cells_once(tmp_path):
    boards = (Device(A100, "GPU-1", capability=(8, 0)), Device("NVIDIA A100 80GB PCIe", "GPU-2", capability=(8, 0)))
    cells, caution = below(node((580, 65), *boards), tmp_path)
    said = (
        "found 1 × NVIDIA A100-SXM4-40GB and 1 × NVIDIA A100 80GB PCIe (a100), driver 580.65: 2 cells on cuda12, cuda13"
    )
    assert cells == said
    assert caution.startswith("note: 2 different boards of the model a100: ")


def test_a_name_in_brackets_counts_no_cells_of_another_card(tmp_path):
    first, second = below(
        node((580,), Device("Evil (a100)", "GPU-1", capability=(3, 0)), Device("A100", "GPU-2", capability=(8, 0))),
        tmp_path,
    )
    assert first == "found 1 × Evil (a100) (evil-a100), driver 580: none of the selected cells is for it"
    assert second.endswith(": 2 cells on cuda12, cuda13")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([], "none of the selected cells is for it"),
        ([Cell("jax", "rnn")], "none of the selected cells is for it"),
        ([Cell("jax", "rnn", "cuda13", "h100")], "none of the selected cells is for it"),
        ([Cell("jax", "rnn", "cuda9", "a100")], "no cell can run on it"),
        ([Cell("jax", "rnn", "cuda13", "a100")], "1 cell on cuda13"),
        ([Cell("jax", "rnn", "cuda13", "a100-sm80"), Cell("jax", "rnn", "cuda9", "a100")], "1 cell on cuda13"),
    ],
)
def test_a_card_for_which_nothing_is_selected_is_not_called_one_that_runs_nothing(cells, said, tmp_path):
    assert below(node((580, 65)), tmp_path, cells) == [f"found 1 × {A100} (a100), driver 580.65: {said}"]


def test_a_thousand_models_are_told_of_at_once(tmp_path):
    cards = [Device(f"Y{number} Quadro", f"GPU-{number}", capability=(9, 0)) for number in range(1024)]
    host = node((580, 65), *cards)
    planned = plan_cells([Cell("jax", "rnn", "cuda13", device.model) for device in cards], ENGINE, tmp_path, host)
    seen = Counted(planned)
    assert [line.endswith(": 1 cell on cuda13") for line in found(seen, host)] == [True] * 1024
    assert seen.times == 1, "a look at all cells for each card takes minutes where both are many"


class Counted(list):
    """A list that counts how often somebody goes through it."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


BUSY = Device(A100, "GPU-1", capability=(8, 0), others=2)
DIVIDED = "1 × NVIDIA A100-SXM4-40GB divided by MIG without slices: create them with 'nvidia-smi mig -cgi PROFILE -C'"


@pytest.mark.parametrize(
    ("host", "notes"),
    [
        (node((580,)), []),
        (
            together([node((580,), BUSY)] * 2),
            ["other processes are using 1 of them (on 2 nodes): times may be longer than on an idle GPU"],
        ),
        (
            Host((Device(A100, "GPU-1"),), (580,), unreadable=(Unreadable(3, "GPU is lost"),)),
            ["GPU 3 can't be read: GPU is lost"],
        ),
        (
            node((580,), Device(A100, "GPU-1", mig=True)),
            [
                f"GPU cells were requested, but none can run: {DIVIDED}",
                "GPUs need NVIDIA's driver, and its Container Toolkit or a CDI device list for the engine",
                "run 'rosetta doctor' to see what is missing and how to fix it",
            ],
        ),
        (node((580,), Device(A100, "GPU-1", mig=True), Device("NVIDIA L40S", "GPU-2")), [DIVIDED]),
    ],
)
def test_a_run_says_before_it_begins_what_is_wrong_with_cards(host, notes, tmp_path, capsys):
    tell_of_gpus(Selection(None, "full", ("*/a100",), (), (), tmp_path, None, None, False), CELLS, host)
    assert capsys.readouterr().err.splitlines() == [f"note: {note}" for note in notes]


def test_a_run_of_cells_for_cpus_says_nothing_of_cards_that_nobody_asked(tmp_path, capsys):
    tell_of_gpus(
        Selection(None, "full", ("*/a100*",), (), (), tmp_path, None, None, False), [Cell("jax", "rnn")], Host()
    )
    assert capsys.readouterr().err == ""

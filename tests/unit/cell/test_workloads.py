"""What workloads.json says of each workload, beside params.json."""

import pytest

from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import Workload, heading, ranks_synthetic, start_of, trains, workloads
from orchestrator.system.library_folders import PROGRAM


def test_both_files_name_the_same_workloads():
    assert list(workloads()) == list(parameters())
    assert all((PROGRAM.workloads / name).is_dir() for name in workloads())


@pytest.mark.parametrize("name", workloads())
def test_what_reports_call_a_workload_is_no_part_of_what_names_its_results(name):
    assert not Workload.model_fields.keys() & parameters()[name].keys()


def test_a_workload_of_others_goes_by_its_name_and_has_no_special_case():
    assert heading("transformer") == "transformer"
    assert trains("transformer")
    assert not ranks_synthetic("transformer")
    assert start_of("transformer", "weights.bin") is None


def test_a_network_for_images_began_with_the_file_that_it_loaded_or_at_random():
    assert start_of("densenet121", "densenet121-a639ec97.pth") == "imagenet"
    assert start_of("resnet50", None) == "random"
    assert start_of("cnn", None) is None

"""What params.json says, and what a variant changes of it: alike in the program and in the harness."""

import pytest

from harness import arguments
from orchestrator.cell.parameters import parameters, parameters_of
from orchestrator.cell.scripts import script_of, sources

CASES = [
    (name, variant) for name, known in parameters().items() for variant in ("reference", *known.get("variants", ()))
]


@pytest.mark.parametrize(("workload", "variant"), CASES)
def test_program_and_harness_agree_on_parameters_and_script(workload, variant):
    assert parameters_of(workload, variant) == arguments.params_of(workload, variant)
    ours, theirs = script_of("pytorch", workload, variant), arguments.script_of("pytorch", workload, variant)
    assert ours == theirs == script_of("pytorch", workload)


def test_a_variant_changes_what_it_says_and_nothing_else():
    reference, variant = (parameters_of("densenet121", name) for name in ("reference", "resized-crop"))
    assert variant == {**reference, "window": {"area": [0.08, 1.0], "ratio": [3 / 4, 4 / 3]}}
    assert reference == {name: value for name, value in parameters()["densenet121"].items() if name != "variants"}
    assert parameters_of("cnn", "resized-crop") == parameters()["cnn"]


def test_a_variants_results_have_a_name_of_their_own_and_its_parameters_are_in_no_other():
    reference, variant = (sources("pytorch", "densenet121", name) for name in ("reference", "resized-crop"))
    assert reference != variant
    assert reference == sources("pytorch", "densenet121", "reference")


def test_a_variant_of_another_workload_is_another_script():
    assert script_of("pytorch", "cnn", "resized-crop").name == "pytorch_resized_crop.py"
    assert arguments.script_of("pytorch", "cnn", "resized-crop").name == "pytorch_resized_crop.py"

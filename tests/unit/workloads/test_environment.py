"""What a cell says of its machine."""

import pytest

from harness import environment

ZEN_5 = "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: {}\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("AMD EPYC", "AMD EPYC (family 26, model 2)"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz (family 26, model 2)"),
        ("AMD EPYC 9755 128-Core Processor", "AMD EPYC 9755 128-Core Processor"),
    ],
)
def test_a_name_of_many_generations_is_told_with_its_family_and_model(name, told, tmp_path):
    (tmp_path / "cpuinfo").write_text(ZEN_5.format(name))
    assert environment.processor(str(tmp_path / "cpuinfo")) == told


def test_a_processor_without_a_family_has_its_name_alone(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Neoverse\n")
    assert environment.processor(str(tmp_path / "cpuinfo")) == "Neoverse"

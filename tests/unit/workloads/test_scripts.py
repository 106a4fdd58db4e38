"""The scripts are read side by side: all have the same sections in the same order, and are short."""

import re

import pytest

from orchestrator.cell.parameters import parameters
from orchestrator.cell.scripts import scripts_of
from orchestrator.images.definitions import library_index

SECTIONS = ("Data", "Model", "Loss and optimiser", "Training step", "Prediction", "Weights")
PREDICTING = ("Data", "Model", "Prediction", "Weights")
LONGEST = {"densenet121": 155}  # a larger network, and several workers; 120 lines for the others

SCRIPTS = sorted(path for workload in parameters() for path in scripts_of(workload))


def longest(script):
    """Lines that a script may have; a tuned one half as many again as its reference."""
    if script.stem.endswith("_tuned"):
        reference = script.with_stem(script.stem.removesuffix("_tuned"))
        return 1.5 * len(reference.read_text().splitlines())
    return LONGEST.get(script.parent.name, 120)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_sections_order_and_length(script):
    lines = script.read_text().splitlines()
    sections = [found[1] for line in lines if (found := re.fullmatch(r"# --- (.+?) -+", line))]
    assert tuple(sections) == (PREDICTING if script.parent.name == "resnet50" else SECTIONS)
    assert {len(line) for line in lines if line.startswith("# --- ")} == {118}
    assert len(lines) <= longest(script)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_runs_in_the_precisions_that_its_library_declares(script):
    stem = script.stem.replace("_", "-")
    name = max((name for name in library_index() if stem == name or stem.startswith(name + "-")), key=len)
    found = re.search(r"precisions ?= ?\(([^)]*)\)", script.read_text())
    declared = library_index()[name].libraries[name].precisions
    assert tuple(re.findall(r'"([^"]+)"', found[1]) if found else ["fp32"]) == declared


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.parent.name == "rnn"], ids=lambda path: path.name)
def test_every_script_of_the_gru_says_how_its_time_steps_are_computed(script):
    assert len(re.findall(r"(?m)^cell[.$]gru (?:=|<-) ", script.read_text())) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_of_a_library_that_has_settings_for_its_float32_makes_them(script):
    own = {
        "torch": r"import torch\n",
        "tensorflow": '(?m)^import tensorflow as tf|import."tensorflow',
        "jax": "import jax\n",
    }
    own["paddle"] = "import paddle\n"
    text = script.read_text()
    if "2018" in script.stem or script.stem.startswith("caffe2"):
        return  # of before Ampere
    libraries = [name for name, pattern in own.items() if re.search(pattern, text)]
    assert re.findall(r"settle_precision\(.(\w+)", text) == libraries


def test_every_script_belongs_to_a_library_and_every_library_has_scripts():
    libraries = library_index()
    names = {re.sub("_", "-", path.stem) for path in SCRIPTS}
    variants = {name for name in names if any(name.startswith(library + "-") for library in libraries)}
    assert names - variants <= set(libraries)
    for library in libraries:
        assert library in names, f"{library} has no script"

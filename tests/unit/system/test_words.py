"""Numbers agree with their nouns, and a word that was meant is found."""

import pytest

from orchestrator.system.words import did_you_mean, part_of


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (1, 1, "1 of 1 cell is"), (0, 1, "0 of 1 cell is"), (1, 3, "1 of 3 cells is"), (2, 3, "2 of 3 cells are"),
        (0, 3, "0 of 3 cells are"), (1000, 2000, "1,000 of 2,000 cells are"),
    ],
)  # fmt: skip
def test_a_part_agrees_with_its_noun_and_verb(part, whole, said):
    assert part_of(part, whole, "cell", "are") == said
    assert part_of(part, whole, "cell") == said.rpartition(" ")[0]


def test_the_nearest_word_is_found_in_whatever_case():
    assert did_you_mean("bsh", ["bash", "zsh", "fish"]) == "Did you mean 'bash'?"
    assert did_you_mean("v100", ["V100"]) == "Did you mean 'V100'?"
    assert did_you_mean("xyz", ["bash"]) == ""

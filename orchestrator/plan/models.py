"""Words that name a GPU in matrix.yaml: which may be a card's short name, and which are plainly mistakes."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from orchestrator.system.gpus import (
    CAPABILITY,
    KNOWN,
    LONGEST_MODEL,
    NO_MODELS,
    PLATFORMS,
    PRECISIONS,
    VENDOR,
    model_of,
)
from orchestrator.system.words import nearest

FORM = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""The form of a card's short name."""

TELLING = re.compile(r".*[0-9-]", re.ASCII)
"""A word in a selector that has the form and this is a card's; of a word without, only the matrix knows what it is."""

SEVERAL = re.compile(r"(?P<model>.+)x(?P<count>[1-9][0-9]?)", re.ASCII)
"""A model and how many of it, as cell ids have it: "v100x4", "thorx2". RTX4090 and GTX75 are of no such model."""

SHORTEST = 3
"""Letters of a plain word that is too short for a card's name: the GT of GTX75."""

OTHER_WORDS = {*PLATFORMS, *PRECISIONS, "all", "any", "cuda", "gpus", "true", "false", "yes", "no", "null"}
"""Words of the form that are no card's: they mean something elsewhere in the file, or in YAML, or are in no name."""


class Models(tuple[str, ...]):
    """The well-known words for GPUs; besides them, any word of a short name's form may be a card's: titan-v, thor.

    It does not depend on the cards of this machine, so that a matrix is valid everywhere or nowhere. Only a card that
    is here may have a name that would be taken for a mistake; ``here`` is called only for those.
    """

    here: Callable[[], Sequence[str]]

    def __new__(cls, words: Iterable[str], here: Callable[[], Sequence[str]] = tuple) -> "Models":
        """Make it from the words, and ``here``, which returns the models of this machine's cards."""
        made = super().__new__(cls, words)
        made.here = here
        return made

    def __contains__(self, word: object) -> bool:
        return super().__contains__(word) or self._may_be(str(word)) or word in self.here()

    def _may_be(self, word: str) -> bool:
        fits = FORM.fullmatch(word) is not None and len(word) <= LONGEST_MODEL and VENDOR.isdisjoint(word.split("-"))
        return fits and word not in OTHER_WORDS and not self.several(word) and not self.meant(word)

    def are_named_by(self, word: str) -> bool:
        """Whether a word of a selector names a card: a plain one may be anything else, mistyped."""
        return super().__contains__(word) or (TELLING.match(word) is not None and word in self)

    def several(self, word: str) -> str:
        """Return the model in a word that also says how many of it: "v100x4" → "v100"; else empty."""
        split = SEVERAL.fullmatch(word)
        model = split["model"] if split else ""
        return model if (model.isalpha() and len(model) > SHORTEST) or self.are_named_by(model) else ""

    def meant(self, word: str) -> str:
        """Return the well-known word that a similar one stands for, which can be no card's name; else empty.

        That is ``here`` or ``none`` with a suffix or one letter off, and a published card's name with letters that
        look like its digits or a hyphen too many. One character off is no mistake there: A10 is a card, as is A100.
        """
        for reserved in NO_MODELS:
            if word.startswith(f"{reserved}-") or word in typos(reserved):
                return reserved
        return next((model for model in KNOWN if model != word and as_read(model) == as_read(word)), "")

    def advice(self, word: str) -> str:
        """Return what to write instead of a word that names no GPU."""
        low = word.lower()
        if model := self.several(low):
            count = low.removeprefix(f"{model}x")
            return f"The number of GPUs is an axis of its own. Write gpu: [{model}] and n_gpus: [{count}]."
        candidates = list(dict.fromkeys([*self.here(), *self, *KNOWN]))
        named = low if low in NO_MODELS or CAPABILITY.search(low) else model_of(word)
        fits = named != word and named in self and not named.startswith("unnamed") and len(word) <= LONGEST_MODEL
        guess = "here" if word == "*" else self.meant(low) or (named if fits else "")
        guess = guess or nearest(word, candidates, 0.5)
        meant = f"Did you mean '{guess}'? " if guess else ""
        cards = ", ".join(self.here())
        return (
            f"{meant}It may be 'none', 'here' for every model that the engine has, or a card's short name: small"
            f" letters, digits and hyphens, as {', '.join(KNOWN)}, rtx-4090 or a100-3g-20gb."
            + (f" The cards here are {cards}." if cards else "")
        )


@cache
def typos(word: str) -> frozenset[str]:
    """Return all words that one letter too few, too many or wrong, or two swapped, make of a word."""
    return frozenset(mistyped(word)) - {word}


def mistyped(word: str) -> Iterator[str]:
    """Yield a word with each single mistake."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


def as_read(word: str) -> str:
    """Return a word as a hasty reader sees it: without hyphens, l and o as digits."""
    return word.replace("-", "").replace("l", "1").replace("o", "0")

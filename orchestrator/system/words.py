"""Numbers in sentences, and words that were meant."""

from collections.abc import Iterable


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun: "1 cell", "2,000 cells"; ``several`` is an irregular plural."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


SINGULAR = {"are": "is", "have": "has"}
"""Verbs in the plural, with their singular."""


def part_of(part: int, whole: int, one: str, verb: str = "") -> str:
    """Return a part of a number of things, "1 of 1 cell", "2 of 3 cells", and a ``verb`` ("are") in the same number."""
    said = SINGULAR.get(verb, verb) if part == 1 or whole == 1 else verb
    return " ".join(filter(None, (f"{part:,} of {counted(whole, one)}", said)))


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that is most like a word, whatever its case; empty if none is near."""
    import difflib

    by_letters = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold(), by_letters, n=1, cutoff=cutoff)
    return by_letters[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "Did you mean 'bash'?" for the nearest of the known words; empty if none is near."""
    near = nearest(word, known, cutoff)
    return f"Did you mean '{near}'?" if near else ""


def advice(word: str, known: Iterable[str]) -> str:
    """Return what to write instead of an unknown word: the nearest one that is known, if any, and all of them."""
    known = sorted(known)
    return f"{did_you_mean(word, known, 0.5)} Known: {', '.join(known) or 'none'}.".lstrip()

"""Numbers in sentences."""


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun: "1 cell", "2,000 cells"; ``several`` is an irregular plural."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"

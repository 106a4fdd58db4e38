"""Which of the rows are proved by comparisons with the reference that are among them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.cell.cell import OWN, proved_as
from orchestrator.cell.contract import Status, own_weights
from orchestrator.results.rows import Row


def with_proofs(rows: Sequence[Row]) -> list[Row]:
    """The rows that were measured, each with its proof: one that was there before it, or came later.

    The same image has the same scripts, so comparisons with the reference that are among the rows prove all of it, if
    all are good, and on one machine the same to the last digit. Scripts of an installation that is not ours are no part
    of its image.
    """
    compared: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if (
            row["parity"] is not None
            and row["status"] in (Status.OK, Status.QUALITY)
            and not own_weights(row["pretrained"])
        ):
            compared[made_of(row)].append(row)
    proved = {made: every[0]["run"] for made, every in compared.items() if are_alike(every)}
    return [
        {**row, "proof": row["proof"] or (f"parity of this script and image, run {run}" if run else None)}
        for row in rows
        if row["parity"] is None
        for run in [proof_among(proved, row) if row["image_digest"] and row["gpu"] == "none" else None]
    ]


def are_alike(compared: Sequence[Row]) -> bool:
    """Whether all comparisons of a script are good, and those of one machine agree to the last digit."""
    figures = {(row["cpu"], row["cores"], row["parity"]) for row in compared}
    machines = {(row["cpu"], row["cores"]) for row in compared}
    return len(figures) == len(machines) and all(row["status"] == Status.OK for row in compared)


def proof_among(proved: Mapping[tuple[str, ...], str], row: Row) -> str | None:
    """Return the run that proves a row: that of its variant, or of the one whose proof stands for it."""
    if row["platform"] == OWN:
        return None
    of_variant = {**row, "variant": proved_as(row["variant"])}
    return proved.get(made_of(row)) or proved.get(made_of(of_variant))


def made_of(row: Row) -> tuple[str, ...]:
    """Return what must agree for a comparison with the reference to stand for a row."""
    workers = row["workers"] or row["n_gpus"] or 1
    axes = ("image_digest", "library", "workload", "platform", "gpu", "variant")
    return (*(row[name] for name in axes), str(workers))

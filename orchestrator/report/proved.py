"""Which of the rows are proved by comparisons with the reference that are among them."""

import json
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
    return [{**row, "proof": proof_of(row, compared)} for row in rows if row["parity"] is None]


def proof_of(row: Row, compared: Mapping[tuple[str, ...], Sequence[Row]]) -> str | None:
    """Return what proves a row: its own proof or the comparisons with its script, unless these say otherwise.

    They are those of its variant, or of the one whose proof stands for it.
    """
    own: str | None = row["proof"]
    if not row["image_digest"] or row["gpu"] != "none" or row["platform"] == OWN:
        return own
    of_variant = {**row, "variant": proved_as(row["variant"])}
    among = compared.get(made_of(row)) or compared.get(made_of(of_variant))
    if among is None:
        return own
    if not are_alike(among):
        return None
    return own or f"parity of this script and image, run {among[0]['run']}"


def are_alike(compared: Sequence[Row]) -> bool:
    """Whether all comparisons of a script are good, and those of one machine agree to the last digit.

    Where one doesn't tell its machine, all are taken to be of the same.
    """
    machines = [(row["cpu"], row["cores"]) for row in compared]
    machines = [("", 0)] * len(compared) if any(None in machine for machine in machines) else machines
    figures = {
        (machine, *sorted(json.loads(row["parity"]).items())) for machine, row in zip(machines, compared, strict=True)
    }
    return len(figures) == len(set(machines)) and all(row["status"] == Status.OK for row in compared)


def made_of(row: Row) -> tuple[str, ...]:
    """Return what must agree for a comparison with the reference to stand for a row."""
    workers = row["workers"] or row["n_gpus"] or 1
    axes = ("image_digest", "library", "workload", "platform", "gpu", "variant")
    return (*(row[name] for name in axes), str(workers))

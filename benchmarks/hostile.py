"""Hostile events, documents, rows and files: what becomes of each, from the bytes to screen, row, status and page.

Every input is made from a valid one by a mutation drawn from a seed: values of other types, sizes and signs, keys that
are missing or twice, nesting, control sequences, bytes that are turned, files that unpack to gigabytes. Each goes the
whole way that a real one goes. What may come of it: *refused* (by name, or as text), *marked* (a failed row of its
own), or *harmless* (taken, and everything that is made of it is made). Anything else is a traceback, and exit code 1.

usage: python benchmarks/hostile.py [--inputs 10000] [--seed 0]
"""

import argparse
import io
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.compare import comparison
from orchestrator.engines.output import Output, failure, success
from orchestrator.errors import ResultError
from orchestrator.report import screen as tables_screen
from orchestrator.report import tables
from orchestrator.report.site import serving
from orchestrator.report.site.pages import Site
from orchestrator.results import decoding
from orchestrator.results.claims import Claims
from orchestrator.results.files import read_results, table_of, write_row
from orchestrator.results.merging import collect
from orchestrator.results.rows import row_of
from orchestrator.results.schema import COLUMNS, SCHEMA_VERSION, VERSION_KEY, schema
from orchestrator.run import screen, status
from orchestrator.system.console import PlainConsole
from orchestrator.system.slots import Lease

OSC = "\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066"
VALUES: list[Any] = [
    None, True, 0, -1, -5.0, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30, 1e300, -1e300, 5e-324, 0.5, 1.5,
    "", "a", "x" * 501, "x" * 120_000, OSC, "../../etc/passwd", "<script>alert(1)</script>", "a\0b", "NaN", "1e9999",
    "[", "{}", "[]", "[1]", '{"a": NaN}', '[{"throttled": 3}]', "[" * 900 + "]" * 900, "cpu", "cuda99",
    "cuda" + "9" * 60,
    "wonderful", "ok", "quality", "failed", "incompatible", "synthetic", "\u00e9\u0301" * 40, "9" * 400, [], {}, [None],
    [1e300] * 3, [-1.0], ["a"], {"a": {"b": {}}},
]  # fmt: skip
"""What a field is replaced by."""

GPU = {"name": "Tesla V100-SXM2-16GB", "uuid": "GPU-1", "driver": "470.1"}
CELL = Cell("pytorch", "rnn", data="synthetic", epochs=2, samples=1280)
LENGTH = {"epochs": 2, "samples": 1280, "steps": 40, "samples_tested": 1280}
DOCUMENT: dict[str, Any] = {
    "contract": 1, "library": "pytorch", "workload": "rnn", "platform": "cpu", "precision": "fp32",
    "variant": "reference", "data": "synthetic", "seed": 0, "n_gpus": 0, **LENGTH, "shortened": True,
    "metric": "accuracy", "quality": 0.98, "seconds": 5.0, "seconds_warm": 5.0, "phases": {"import": 1.0, "train": 5.1},
    "epoch_seconds": [2.5, 2.5], "epoch_losses": [0.6, 0.2], "peak_memory": 500_000_000,
    "versions": {"framework": "2.13.0", "cuda": None, "cudnn": None, "packages": {"torch": "2"}},
    "environment": {"os": "Debian", "kernel": "6", "python": "3.11.7", "numpy": "2.3.5", "cpu": "EPYC", "cores": 2,
                    "memory": 25_000_000_000, "gpus": []},
}  # fmt: skip
IMAGE = {"image": "rosetta/pytorch:2", "recipe": "abc", "framework": "pytorch"}
EVENT = {"event": "epoch", "epoch": 1, "epochs": 2, "loss": 0.5, "seconds": 1.5}
SHARES = {"events": 0.35, "documents": 0.25, "rows": 0.3, "files": 0.1}
"""What of the inputs is of which kind."""


def main() -> None:
    """Run the campaign and print what came of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rosetta-hostile-") as folder:
        counts = campaign(arguments.inputs, arguments.seed, Path(folder))
    for kind in SHARES:
        found = {outcome: count for (name, outcome), count in sorted(counts.items()) if name == kind}
        print(f"{kind:10} {sum(found.values()):6,}: " + ", ".join(f"{count:,} {what}" for what, count in found.items()))
    print(f"{sum(counts.values()):,} inputs, seed {arguments.seed}, {time.monotonic() - began:,.0f} s")
    sys.exit(any(outcome == "TRACEBACK" for _, outcome in counts))


def campaign(inputs: int, seed: int, folder: Path) -> Counter[tuple[str, str]]:
    """So many inputs of all kinds; how many of each ended how."""
    counts: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, Callable[[int, random.Random, Path], Iterator[str]]] = {
        "events": events, "documents": documents, "rows": rows, "files": files,
    }  # fmt: skip
    for kind, work in kinds.items():
        place = folder / kind
        place.mkdir()
        wanted = round(inputs * SHARES[kind])
        for outcome in guarded(work(wanted, random.Random(f"{seed} {kind}"), place)):
            counts[kind, outcome] += 1
    return counts


def guarded(outcomes: Iterator[str]) -> Iterator[str]:
    """The outcomes; whatever else is raised is printed, and counts as a traceback."""
    while True:
        try:
            yield next(outcomes)
        except StopIteration:
            return
        except Exception:
            traceback.print_exc()
            yield "TRACEBACK"
            return


def mutated(value: Any, dice: random.Random) -> Any:
    """A copy with one to three places changed."""
    made = json.loads(json.dumps(value))
    for _ in range(dice.randint(1, 3)):
        place, key = at_random(made, dice)
        match dice.randrange(6):
            case 0 if isinstance(place, dict):
                place[dice.choice(["x", OSC, "", "contract", "event"])] = dice.choice(VALUES)
            case 1 if isinstance(place, dict) and key is not None:
                del place[key]
            case 2 if key is not None:
                place[key] = [place[key]] * dice.choice([0, 2, 1000])
            case _ if key is not None:
                place[key] = dice.choice(VALUES)
    return made


def at_random(value: Any, dice: random.Random) -> tuple[Any, Any]:
    """A container within a value, and a key of it; None where it is empty."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = dice.choice(keys) if keys else None
        if key is None or not isinstance(value[key], dict | list) or dice.random() < 0.3:
            return value, key
        value = value[key]


def as_json(value: Any, dice: random.Random) -> bytes:
    """JSON as others may write it: with NaN, keys twice, numbers of 400 digits, nesting, turned bytes, cut off."""
    raw = json.dumps(value).encode()
    match dice.randrange(12):
        case 0:
            at = dice.randrange(len(raw))
            raw = raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]
        case 1:
            raw = raw[: dice.randrange(len(raw))]
        case 2:
            raw = raw.replace(
                b"0.5", dice.choice([b"9" * 400, b"NaN", b"-Infinity", b"1e999", b"-0", b"0." + b"1" * 900])
            )
        case 3:
            raw = raw[:-1] + b', "epoch": ' + b"[" * 900 + b"]" * 900 + b"}"
        case 4:
            raw = raw.replace(b"{", b'{"event": "epoch", ', 1)
        case 5:
            raw = raw.replace(b'"', b'"\\ud800', 3)
        case 6:
            raw = b"\xef\xbb\xbf" + raw
    return raw


# --- Events: from the bytes of a cell to the screen, the status and the page ----------------------------------------
def events(count: int, dice: random.Random, folder: Path) -> Iterator[str]:
    """Lines of output, through everything that shows them."""
    (folder / "cells").mkdir()
    claim = Claims(folder).take("0123")
    assert claim is not None
    claim.update(state="running", cell=CELL.id, repeat=0, data="synthetic", host="here", gpus=[], expected=None)
    for _ in range(count):
        shown = io.StringIO()
        console = PlainConsole(file=shown, force_terminal=True, width=100)
        live, lines = screen.Live(console), screen.Lines(console)
        for progress in (live, lines):
            progress.started(CELL, Lease((), (0,), 1))
        seen: list[Any] = []
        output = Output(seen.append)
        line = (
            as_json(mutated(EVENT, dice) if dice.random() < 0.6 else EVENT, dice)
            if dice.random() < 0.9
            else OSC.encode() + dice.randbytes(60)
        )
        raw = line + b"\n" + OSC.encode(errors="replace")
        cut = dice.randrange(len(raw))
        output.feed(raw[:cut])
        output.feed(raw[cut:])
        log = output.close()
        for event in seen:
            for progress in (live, lines):
                progress.event(CELL, event)
            facts = {name: getattr(event, name) for name in ("epoch", "epochs", "loss") if hasattr(event, name)}
            claim.update(**facts)
        row = row_of(CELL, failure(log, 1), key="0123", run="r", engine="docker", image=IMAGE, host="here")
        lines.finished(CELL, row)
        console.print(live.table())
        status.show(status.read(folder), console)
        assert list(serving.running(folder))
        assert steered(shown.getvalue()) is None, steered(shown.getvalue())
        yield "harmless" if seen else "refused, as text"
    claim.release()


def steered(text: str) -> str | None:
    """What of a screen's text would steer the terminal, other than rich's own colours."""
    foreign = ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e", "\u2066", "\0")
    return next((repr(sequence) for sequence in foreign if sequence in text), None)


# --- Documents: from the bytes to the row and what is made of it ------------------------------------------------------
def documents(count: int, dice: random.Random, folder: Path) -> Iterator[str]:
    """Documents that cells leave; one in three is left by hand, for a merge to find."""
    taken: list[dict[str, Any]] = []
    for number in range(count):
        raw = as_json(mutated(DOCUMENT, dice) if dice.random() < 0.9 else DOCUMENT, dice)
        if dice.random() < 0.3:
            yield by_hand(raw, folder / f"{number}.json", taken)
            continue
        try:
            outcome = success(contract.parse(raw, "the result"), "said")
        except ResultError as error:
            outcome = Outcome(Status.FAILED, str(error))
        made = row_of(CELL, outcome, key="0123", run=f"{number}", engine="docker", image=IMAGE, host="here")
        write_row(made, folder / "row.parquet")
        (row,) = read_results(folder / "row.parquet").to_pylist()
        taken.append(row)
        yield "marked as failed" if row["status"] != Status.OK else "harmless"
    shown(table_of(taken))


def by_hand(raw: bytes, path: Path, taken: list[dict[str, Any]]) -> str:
    """A document in a results folder; its row goes to the others that were taken."""
    path.write_bytes(raw)
    found = collect([path])
    path.unlink()
    if found.refused:
        return "left alone" if found.refused[0].foreign else "refused"
    taken += found.table.to_pylist()
    return "harmless"


def shown(table: pa.Table) -> None:
    """Make all that is made of rows: tables, the pages of them, comparisons."""
    console = PlainConsole(file=io.StringIO(), force_terminal=True, width=100)
    tables_screen.print_tables(*tables.tables(table, published=True), console)
    comparison.verify(table, comparison.published, 0.1)
    comparison.verify(table, comparison.of_results(table, "itself"), 0.1)
    site = Site(table, OSC)
    for path, make in site.pages.items():
        if path.endswith(".html") and not path.startswith("stone"):
            page = make().decode()
            assert steered(page) is None, (path, steered(page))
    assert steered(console.file.getvalue()) is None  # type: ignore[attr-defined]


# --- Rows: forged fields in files that are whole ----------------------------------------------------------------------
def valid_rows() -> list[dict[str, Any]]:
    """Rows of several kinds: good, of bad quality, failed, on GPUs, compared with the reference."""
    states = json.dumps([{"uuid": "GPU-1", "power_limit": 300.0, "graphics_clock": 1380, "throttled": []}])
    base = {**DOCUMENT, "phases": {}}
    document = contract.Document.model_validate(base)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    outcome = Outcome(Status.OK, document=document, log="said", started=begun, wall_seconds=10.0)
    on_gpu = {**base, "platform": "cuda9", "n_gpus": 1, "environment": {**DOCUMENT["environment"], "gpus": [GPU]}}
    gpu = Cell("pytorch", "rnn", "cuda9", "v100", data="synthetic", epochs=2, samples=1280)
    errors = dict.fromkeys(("scores", "loss", "parameters", "updates"), 0.0)
    proof = {"epochs": 1, "samples": 320, "steps": 5, "samples_tested": 64, "metric": "parity", "quality": 1.0,
             "epoch_seconds": [5.0], "epoch_losses": [], "parity": errors, "seconds_warm": None}  # fmt: skip
    cells = [
        (CELL, outcome),
        (gpu, Outcome(Status.OK, document=contract.Document.model_validate(on_gpu), started=begun, wall_seconds=9.0)),
        (CELL, Outcome(Status.FAILED, "exit code 1", started=begun)),
        (Cell("pytorch", "rnn", data="synthetic", parity=True),
         Outcome(Status.OK, document=contract.Document.model_validate(base | proof), started=begun, wall_seconds=9.0)),
    ]  # fmt: skip
    made = [row_of(c, o, key="0123", run="r", engine="docker", image=IMAGE, host="here") for c, o in cells]
    made[1] |= dict.fromkeys(("gpus_before", "gpus_during", "gpus_after"), states)
    assert [row["status"] for row in made] == ["ok", "ok", "failed", "ok"], [row["reason"] for row in made]
    assert quality.asked(CELL) == (2, 1280)
    return made


def rows(count: int, dice: random.Random, folder: Path) -> Iterator[str]:
    """One to two forged fields in a row, in files of one row each, and all that is made of those that are taken."""
    valid = valid_rows()
    for start in range(0, count, 100):
        paths = []
        for number in range(start, min(start + 100, count)):
            path = folder / f"{number}.parquet"
            row = {**dice.choice(valid), "run": f"run-{number}"}
            while not forge(row, dice, path):
                pass
            paths.append(path)
        found = decoding.read(paths)
        refused = {refusal.path for refusal in found.refused if not refusal.kept}
        shown(found.table)
        for path in paths:
            yield "refused" if path in refused else "harmless"
            path.unlink()


def forge(row: dict[str, Any], dice: random.Random, path: Path) -> bool:
    """Write a row with forged fields; False where Parquet itself has no such value."""
    forged = dict(row)
    for name in dice.sample(list(COLUMNS), dice.randint(1, 2)):
        far = [datetime.now(UTC) + timedelta(days=9999), datetime(1970, 1, 1, tzinfo=UTC), None]
        others = {
            "time": far,
            "truth": [None, True, False],
            "reals": [None, [], [float("nan")], [-1.0] * 3, [1e300] * 9],
        }
        numbers = [*VALUES, float("nan"), float("inf"), -float("inf")]
        forged[name] = dice.choice(others.get(COLUMNS[name].rstrip("?"), numbers))
    try:
        table = pa.Table.from_pylist([forged], pa.schema([field.with_nullable(True) for field in schema()]))
    except (pa.ArrowException, OverflowError):
        return False
    store(table, path)
    return True


def store(table: pa.Table, path: Path, version: str = str(SCHEMA_VERSION), **options: Any) -> None:
    """Write a table as a file of results."""
    with pq.ParquetWriter(path, table.schema, store_schema=False, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({VERSION_KEY: version})


# --- Files: what is no longer, or never was, what it says -------------------------------------------------------------
def files(count: int, dice: random.Random, folder: Path) -> Iterator[str]:
    """Files beside a good one in a folder: of each only what is right is merged, and the good one always is.

    Unless the other passes for the same run with other figures: then neither counts, and both are named.
    """
    good, bad = folder / "good.parquet", folder / "bad.parquet"
    write_row({**valid_rows()[0], "run": "good"}, good)
    for number in range(count):
        BROKEN[number % len(BROKEN)](bad, good.read_bytes(), dice)
        found = collect([folder])
        forged = any("is there twice with different figures" in str(refusal.error) for refusal in found.refused)
        assert forged or "good" in found.table["run"].to_pylist()
        if number % 10 == 0:
            shown(found.table)
        yield ("left alone" if found.refused[0].foreign else "refused") if found.refused else "harmless"
        bad.unlink()


def turned(path: Path, raw: bytes, dice: random.Random) -> None:
    """Some bytes are others."""
    made = bytearray(raw)
    for _ in range(dice.randint(1, 8)):
        made[dice.randrange(len(made))] = dice.randrange(256)
    path.write_bytes(made)


def cut_off(path: Path, raw: bytes, dice: random.Random) -> None:
    """The end is missing."""
    path.write_bytes(raw[: dice.randrange(len(raw))])


def by_dictionary(path: Path, raw: bytes, dice: random.Random) -> None:
    """A few long texts of a dictionary, named a million times: kilobytes that unpack to gigabytes."""
    rows = dice.choice([5_000, 500_000, 990_000])
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 7_000]))
    arrays = [text if field.name == "reason" else pa.nulls(rows, field.type) for field in schema()]
    fields = [field.with_type(array.type).with_nullable(True) for field, array in zip(schema(), arrays, strict=True)]
    store(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path, compression="zstd")


def by_list(path: Path, raw: bytes, dice: random.Random) -> None:
    """One list of millions of equal numbers in a single row."""
    size = dice.choice([200_000, 20_000_000])
    (row,) = pq.read_table(pa.BufferReader(raw)).to_pylist()
    table = table_of([{**row, "epoch_losses": None}])
    values = pa.ListArray.from_arrays(pa.array([0, size], pa.int32()), pa.repeat(pa.scalar(0.5), size))
    place = table.schema.get_field_index("epoch_losses")
    store(table.set_column(place, "epoch_losses", values), path, compression="zstd")


def of_version(path: Path, raw: bytes, dice: random.Random) -> None:
    """Another version of the schema, whose name steers a terminal."""
    store(pq.read_table(pa.BufferReader(raw)), path, OSC)


def foreign(path: Path, raw: bytes, dice: random.Random) -> None:
    """Somebody's own table."""
    pq.write_table(pa.table({"x": [1, 2]}), path)


def of_other_types(path: Path, raw: bytes, dice: random.Random) -> None:
    """A column that has another type."""
    table = pq.read_table(pa.BufferReader(raw))
    name = dice.choice(list(COLUMNS))
    value = dice.choice(
        [pa.array(["a"]), pa.array([[{"a": 1}]]), pa.array([b"\xff"]), pa.array([True]), pa.array([2.5])]
    )
    store(table.set_column(table.schema.get_field_index(name), name, value), path)


def without_columns(path: Path, raw: bytes, dice: random.Random) -> None:
    """Some columns are missing, others are there twice."""
    table = pq.read_table(pa.BufferReader(raw))
    dropped = table.drop_columns(dice.sample(list(COLUMNS), 3))
    store(dropped.append_column("cell", pa.array(["x"])) if dice.random() < 0.5 else dropped, path)


BROKEN = (turned, cut_off, turned, of_other_types, turned, without_columns, turned, of_version, by_list, foreign,
          turned, by_dictionary)  # fmt: skip


if __name__ == "__main__":
    main()

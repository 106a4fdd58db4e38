"""The tables as a person sees them, compared as text."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.agreeing import checks_of
from orchestrator.cell.cell import Cell
from orchestrator.errors import MatrixError
from orchestrator.report import badges, formats, markdown, rows, screen, tables
from orchestrator.report.costs import COSTS, read_prices, unpriced
from orchestrator.report.fields import duration
from orchestrator.report.grids import Costs
from orchestrator.report.proved import with_proofs
from orchestrator.report.rows import with_machines
from orchestrator.results.files import table_of
from orchestrator.results.rows import incompatible_row, unfilled_row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TITLES = {"pytorch": "PyTorch", "mxnet": "MXNet", "cntk": "CNTK", "knet": "Julia (Knet)"}
EPYC = {"cpu": "AMD EPYC 7B13", "cores": 2, "host": "here"}
XEON = {"cpu": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 8, "host": "there"}
SHORT = {"data": "synthetic", "epochs": 2, "samples": 1280, "shortened": True}


def ran(library: str, seconds: float, quality: float = 0.857, /, *axes: str, **changes: Any) -> dict[str, Any]:
    """A row of a full GRU run that ended ok; ``axes`` are platform and GPU, ``changes`` columns."""
    names = {name: changes[name] for name in ("data", "repeat", "precision", "variant") if name in changes}
    cell = Cell(library, changes.pop("workload", "rnn"), *(axes or ("cpu", "none")), **names)
    measured = {"status": "ok", "seconds": seconds, "quality": quality, "metric": "accuracy", "engine": "docker"}
    facts = {"started": NOW, "n_gpus": int(bool(axes)), "proof": "parity of this script and image, run 1"}
    facts["checks"] = checks_of(cell.workload)
    return {**unfilled_row(cell), **measured, **EPYC, **facts, **changes}


def four(library: str, seconds: float, *facts: Any, **changes: Any) -> list[dict[str, Any]]:
    """Four rounds a thousandth apart, enough to rank by."""
    return [ran(library, seconds * (1 + n / 1000), *facts, repeat=n, **changes) for n in range(4)]


def failed(library: str, status: str, reason: str, *axes: str, **changes: Any) -> dict[str, Any]:
    """A row of a run that left no document: it knows its host's name only."""
    nothing = {"seconds": None, "quality": None, "cpu": None, "cores": None, "n_gpus": None}
    return ran(library, 0, 0, *axes, **{**nothing, "status": status, "reason": reason, **changes})


def cannot(library: str, reason: str, *axes: str, **changes: Any) -> dict[str, Any]:
    cell = Cell(library, changes.pop("workload", "rnn"), *(axes or ("cpu", "none")), **changes)
    return incompatible_row(cell, reason, "docker")


def shown(*rows: dict[str, Any], width: int = 80, **options: Any) -> str:
    out = io.StringIO()
    screen.show(table_of(rows), Console(file=out, width=width, **options), TITLES)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def fields(*rows: dict[str, Any]) -> dict[str, list[str]]:
    """The fields of the first table: time or word, marks, quality, spread."""
    (first, *_), _ = tables.tables(table_of(rows), TITLES)
    return {
        library: [" ".join(filter(None, (e.time + e.marks, e.quality, e.spread))) for e in entries]
        for library, entries in first.rows.items()
    }


QUICK = [
    ran("pytorch", 8.94, 0.9937, **SHORT, engine="process"),
    ran("mxnet", 12.4, 1.0, **SHORT),
    failed("cntk", "oom", "killed by the kernel: out of memory", **SHORT),
    cannot("knet", "not implemented yet: no image for knet", data="synthetic"),
    cannot("caffe2", "not implemented yet: no image for caffe2", data="synthetic"),
]
FULL = [
    ran("pytorch", 300.4),
    *(ran("pytorch", seconds, 0.86, "cuda9", "v100", repeat=n, **XEON) for n, seconds in enumerate((21.2, 23.0, 22.6))),
    ran("mxnet", 280.0, 0.849),
    ran("mxnet", 19.6, 0.871, "cuda9", "v100", **XEON),
    failed("cntk", "quality", "accuracy .512 lies outside .83–.88", "cuda9", "v100", host="there"),
    cannot("cntk", "cntk has no wheel for this"),
    *(cannot(name, "no K80 on this machine", "cuda8", "k80") for name in ("pytorch", "mxnet")),
    cannot("pytorch", "not implemented yet: cuda12", "cuda12", "h200"),
    cannot("pytorch", "not implemented yet: no script", workload="resnet50"),
]


def test_the_first_table_of_a_newcomer():
    assert shown(*QUICK) == (
        """\
GRU on IMDB: seconds to train, test accuracy
AMD EPYC 7B13, 2 cores

                                 CPU
 ───────────────────────────────────
 caffe2                            –
 Julia (Knet)                      –
 MXNet                 12 s†   1.000
 PyTorch              8.9 s†‡   .994
 CNTK · reset first      failed: oom

✗ CNTK · reset first: killed by the kernel: out of memory
– not implemented yet (2 cells): caffe2, Julia (Knet)
· reset first: another form, other scores from the same weights, ranked
  separately: docs/parity.md

† 2 epochs of 1,280 synthetic samples: a smoke run, never ranked. For the
  published length on real data: 'rosetta data fetch', then 'rosetta run
  --profile full'
‡ run without a container: the machine's own Python and system libraries, no
  isolation"""
    )


def test_results_of_two_machines():
    assert shown(*FULL, width=100) == (
        """\
GRU on IMDB: seconds to train, test accuracy
A: AMD EPYC 7B13, 2 cores
B: Intel Xeon CPU @ 2.20GHz, 8 cores

                                             CUDA 9
                              CPU              V100
                                A                 B
 ──────────────────────────────────────────────────
 CNTK                               failed: quality
 MXNet                280 s  .849        20 s  .871
 PyTorch              300 s  .857        23 s  .860
                                       21–23 s, n=3
 CNTK · reset first             –

✗   CNTK on CUDA 9 V100: accuracy .512 lies outside .83–.88
–   cntk has no wheel for this: CNTK · reset first
–   left out, nothing runs there: CUDA 8 (K80), CUDA 12 (H200): no K80 on this machine (2 cells);
    not implemented yet
n<4 fewer than 4 rounds can't tell which is the fastest: use 'rosetta run --until-stable'
·   reset first: another form, other scores from the same weights, ranked separately: docs/parity.md

ResNet-50: seconds per 1,000 images, agreement of the features
– nothing has run: CPU: not implemented yet"""
    )


def test_the_same_as_markdown():
    assert markdown.document(table_of(FULL), TITLES) == (
        """\
**GRU on IMDB: seconds to train, test accuracy**\\
A: AMD EPYC 7B13, 2 cores\\
B: Intel Xeon CPU @ 2.20GHz, 8 cores

| | CPU A | CUDA 9 V100 B |
| --- | ---: | ---: |
| CNTK |  | failed: quality |
| MXNet | 280 s .849 | 20 s .871 |
| PyTorch | 300 s .857 | 23 s .860<br>21–23 s, n=3 |
| CNTK · reset first | – |  |

✗ CNTK on CUDA 9 V100: accuracy .512 lies outside .83–.88\\
– cntk has no wheel for this: CNTK · reset first\\
– left out, nothing runs there: CUDA 8 (K80), CUDA 12 (H200): no K80 on this machine (2 cells); not implemented yet\\
n<4 fewer than 4 rounds can't tell which is the fastest: use 'rosetta run --until-stable'\\
· reset first: another form, other scores from the same weights, ranked separately: docs/parity.md

**ResNet-50: seconds per 1,000 images, agreement of the features**

– nothing has run: CPU: not implemented yet
"""
    )


def test_columns_without_any_run_are_named_together():
    gpus = [(platform, gpu) for platform in ("cuda8", "cuda9") for gpu in ("k80", "v100")]
    rows = [cannot("pytorch", f"not implemented yet: {axes}", *axes) for axes in gpus]
    rows += [cannot("mxnet", f"no {gpu} on this machine", platform, gpu) for platform, gpu in gpus[:2]]
    assert shown(ran("pytorch", 300), *rows).splitlines()[-2:] == [
        "– left out, nothing runs there: CUDA 8, CUDA 9 (K80, V100): not implemented yet",
        "  (4 cells); other reasons, see 'rosetta plan' (2 cells)",
    ]


def test_a_wide_table_goes_on_below_and_no_line_is_cut():
    wide = [
        ran("pytorch", 1234.5, 0.857, platform, gpu, repeat=repeat)
        for platform in ("cuda8", "cuda9", "cuda12", "cuda13")
        for gpu in ("p100", "v100", "h200")
        for repeat in range(2)
    ]
    for width in (80, 120):
        text = shown(*wide, width=width)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("1,234 s  .857") == 12
        assert "…" not in text
    assert text.index("CUDA 8") < text.index("CUDA 9") < text.index("CUDA 12") < text.index("CUDA 13")


def test_piped_output_is_plain_and_a_terminal_has_colour():
    assert "\x1b" not in shown(*QUICK)
    coloured = shown(*FULL, force_terminal=True, color_system="standard")
    assert "\x1b[1;32m" not in coloured  # nothing is bold without evidence
    assert "\x1b[31m" in coloured  # what failed
    rounds = [ran(name, seconds, repeat=n) for name, seconds in (("mxnet", 280), ("pytorch", 300)) for n in range(4)]
    assert "\x1b[1;32m280 s\x1b" in shown(*rounds, force_terminal=True, color_system="standard")  # the fastest


def test_no_results_say_what_to_do():
    assert "rosetta run" in shown()


def test_repeats_show_median_spread_and_number():
    rows = [
        ran("pytorch", seconds, quality, repeat=n)
        for n, (seconds, quality) in enumerate([(29, 0.85), (40, 0.87), (31, 0.86)])
    ]
    assert fields(*rows) == {"PyTorch": ["31 s≈ .860 29–40 s, n=3"]}
    bad = failed("pytorch", "failed", "exit code 1", repeat=3)
    assert fields(*rows, bad) == {"PyTorch": ["31 s≈ .860 29–40 s, n=3 of 4"]}
    assert "✗ PyTorch: exit code 1" in shown(*rows, bad)


@pytest.mark.parametrize("status", ["failed", "host_lost", "timeout", "oom", "quality"])
def test_what_did_not_end_ok_never_shows_a_time(status):
    said = "failed" if status == "failed" else f"failed: {status.replace('_', ' ')}"
    assert fields(ran("pytorch", 1.5, 0.1, status=status, reason="because")) == {"PyTorch": [said]}


def test_the_newest_run_of_a_question_counts():
    old, new = ran("pytorch", 100, key="1"), ran("pytorch", 90, key="2", started=NOW + timedelta(hours=1))
    assert fields(new, old) == {"PyTorch": ["90 s .857"]}
    late = failed("pytorch", "failed", "exit code 1", started=NOW + timedelta(hours=2))
    assert fields(new, old, late) == {"PyTorch": ["failed"]}
    assert fields({**late, "started": NOW - timedelta(hours=1)}, new) == {"PyTorch": ["90 s .857"]}


def test_runs_of_different_lengths_are_never_put_together():
    full = ran("pytorch", 300)
    some = ran("pytorch", 30, 0.8, epochs=1, shortened=True, repeat=1, started=NOW + timedelta(hours=1))
    less = ran("pytorch", 3, 0.6, epochs=1, samples=640, shortened=True, repeat=2, started=NOW + timedelta(hours=2))
    synthetic = ran("pytorch", 2, 0.99, repeat=3, **SHORT)
    assert fields(full, some, less, synthetic) == {"PyTorch": ["300 s .857"]}
    assert fields(some, less, synthetic) == {"PyTorch": ["3.0 s† .600"]}
    assert fields(synthetic) == {"PyTorch": ["2.0 s† .990"]}


def test_the_fastest_is_sought_among_full_runs_only():
    def fastest(*rows: dict[str, Any]) -> list[str]:
        (first,), _ = tables.tables(table_of(rows), TITLES)
        return [library for library, entries in first.rows.items() if any(e.fastest for e in entries)]

    short = four("knet", 1, **SHORT)
    assert fastest(*four("pytorch", 20), *four("mxnet", 10), *short) == ["MXNet"]
    assert fastest(*four("pytorch", 20), *short) == []
    assert fastest(*short, *four("mxnet", 2, **SHORT)) == []
    # another network, which nobody can beat on the course of this one, and a winner of its own form
    assert fastest(*four("pytorch", 20), *four("mxnet", 10), *four("cntk", 5)) == ["MXNet"]
    assert fastest(*four("keras-cntk", 20), *four("keras-theano", 10), *four("cntk", 5)) == [
        "keras-theano · reset first with linear gates"
    ]


def test_longer_runs_and_other_batches_have_a_column_of_their_own():
    rows = [
        ran("pytorch", 300, epochs=3, steps=1170, samples=24960),
        ran("mxnet", 600, epochs=6, steps=2340, samples=24960),
        ran("mxnet", 200, 0.85, epochs=3, steps=585, samples=24960, repeat=1),
        ran("chainer", 3, **SHORT),
    ]
    (table,), _ = tables.tables(table_of(rows), TITLES)
    assert [" ".join(lines) for lines in table.columns] == ["CPU", "CPU 6 epochs", "CPU batches of 128"]
    assert [entry.time for entry in table.rows["MXNet"]] == ["", "600 s", "200 s"]
    assert [entry.time for entry in table.rows["PyTorch"]] == ["300 s", "", ""]


def test_what_was_slowed_down_or_disturbed_is_marked_and_not_ranked():
    hot = '[{"uuid": "GPU-0", "throttled": ["thermal, by the hardware"]}]'
    rows = [
        ran("pytorch", 8, 0.857, "cuda9", "v100", gpus_after=hot),
        *(ran("cntk", seconds, 0.857, "cuda9", "v100", repeat=n) for n, seconds in enumerate((5, 9, 14))),
        ran("mxnet", 20, 0.857, "cuda9", "v100"),
        ran("knet", 21, 0.857, "cuda9", "v100"),
    ]
    assert {title: field.split()[1] for title, (field,) in fields(*rows).items()} == {
        "CNTK": "s≈", "Julia (Knet)": "s", "MXNet": "s", "PyTorch": "s§",
    }  # fmt: skip
    text = shown(*rows, width=100)
    assert "§ heat or the power limit slowed the GPU down: not ranked" in text
    assert "≈ the rounds are more than 10 % apart: not ranked" in text
    assert "n<4 fewer than 4 rounds can't tell which is the fastest" in text
    assert "**20 s**" not in markdown.document(table_of(rows), TITLES)
    busy = [ran("mxnet", 20, load_after=16.0), ran("pytorch", 20, cpu_used=0.5, threads=1)]
    assert fields(*busy) == {"MXNet": ["20 s# .857"], "PyTorch": ["20 s¶ .857"]}
    text = shown(*busy, width=120)
    assert "# the machine was overloaded" in text
    assert "¶ used its cores more or less than the library does on a quiet machine" in text


def test_a_card_that_others_used_is_marked_and_not_ranked():
    card = ("cuda12", "l40s")
    rows = [
        *four("pytorch", 9, 0.86, *card, gpu_others=1), *four("jax", 10, 0.86, *card), *four("mxnet", 11, 0.86, *card)
    ]  # fmt: skip
    (table, *_), legend = tables.tables(table_of(rows), TITLES)
    assert [(name, entry.time + entry.marks, entry.fastest) for name, (entry,) in table.rows.items()] == [
        ("jax", "10 s", True), ("MXNet", "11 s", False), ("PyTorch", "9.0 s‖", False),
    ]  # fmt: skip
    assert "other processes used the card during the run: not ranked" in {note.text for note in legend}


def test_an_image_that_the_project_never_saw_on_a_gpu_has_a_note_and_its_time():
    proved = "parity on this card, run 0123"
    card = ("cuda9", "v100")
    rows = [ran("cntk", 9, 0.86, *card, proof=proved), ran("tensorflow-2018", 9, 0.86, *card, proof=None)]
    rows += [ran("pytorch", 9, 0.86)]
    (table, *_), _ = tables.tables(table_of(rows), {**TITLES, "tensorflow-2018": "TF 1.12"})
    first = "first seen on a GPU here, never by this project"
    assert [note.text for note in table.notes] == [
        f"{first}; the same weights gave the reference's numbers on this card: CNTK",
        f"{first}; not proved on this card: TF 1.12",
    ]
    assert [entry.time for entry in table.rows["CNTK"]] == ["", "9.0 s"]


def test_only_what_has_parity_beside_it_is_ranked_whenever_that_was_made():
    proof = {"parity": "{}", "image_digest": "sha256:1", "run": "0123", "repeat": 9}
    image = {"proof": None, "image_digest": "sha256:1"}
    rows = [
        *four("jax", 10),
        *four("chainer", 12),
        *four("pytorch", 9, **{**image, "image_digest": "sha256:2"}),
        *four("mxnet", 8, **image),
    ]
    for change, marks in (({}, ""), ({"status": "failed"}, "°"), ({"variant": "highapi"}, "°")):
        (table,), legend = tables.tables(table_of([*rows, ran("mxnet", 1, **{**proof, **change})]), TITLES)
        shown = {library: (entry.marks, entry.fastest) for library, (entry,) in table.rows.items()}
        shown.pop("chainer", None)
        assert shown == {"jax": ("", bool(marks)), "PyTorch": ("°", False), "MXNet": (marks, not marks)}
        assert any("rosetta parity" in note.text for note in legend)


PROOF = {"parity": '{"loss": 1e-7}', "image_digest": "sha256:1"}


@pytest.mark.parametrize(
    ("compared", "proved"),
    [
        ([{}, {}, {}], True),
        ([{}, {"status": "quality"}], False),  # a race: one good run does not outvote a bad one
        ([{}, {"parity": '{"loss": 2e-7}'}], False),  # and two that differ are one, too
        ([{}, {"parity": '{"loss": 2e-7}', "cpu": "another"}], True),
        ([{}, {"status": "host_lost"}], True),
        ([{"pretrained": "own weights, SHA-256 abab"}], False),
        ([{"platform": "own"}], False),  # its image has not the scripts
    ],
)
def test_all_comparisons_of_a_script_prove_it_together(compared, proved):
    rows = [ran("mxnet", 1, run=f"parity-{n}", **{**PROOF, **each}) for n, each in enumerate(compared)]
    timed = ran("mxnet", 8, proof=None, image_digest="sha256:1", platform=rows[0]["platform"])
    (row,) = with_proofs([*rows, timed])
    assert (row["proof"] is not None) == proved


@pytest.mark.parametrize(
    ("others", "stands"),
    [
        ([{"parity": '{"loss": 1e-7, "scores": 0.0}'}, {"parity": '{"scores": 0.0, "loss": 1e-7}'}], True),
        ([{"parity": '{"loss": 1e-7}'}, {"parity": '{"loss": 2e-7}'}], False),
        ([{"parity": '{"loss": 1e-7}'}, {"parity": '{"loss": 2e-7}', "cpu": None, "cores": None}], False),
        ([{"parity": '{"loss": 1e-7}'}, {"parity": '{"loss": 0.1}', "status": "quality"}], False),
        ([], True),
    ],
)
def test_a_row_s_own_proof_stands_unless_comparisons_beside_it_say_otherwise(others, stands):
    image = {"image_digest": "sha256:1"}
    timed = ran("pytorch", 20, **image)
    (row,) = with_proofs([timed, *(ran("pytorch", 1, run=f"p{n}", **image, **each) for n, each in enumerate(others))])
    assert (row["proof"] == timed["proof"]) == stands


def test_a_row_without_checks_of_its_own_is_not_ranked_whatever_it_says_of_a_proof():
    assert fields(ran("pytorch", 20, checks=None)) == {"PyTorch": ["20 s° .857"]}


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "amp-bf16"},
        {"pretrained": "own weights, SHA-256 abababababab"},
        {"input": "device"},  # a tuned script by another name
    ],
)
def test_what_is_no_contest_is_not_ranked_together(other):
    rows = [*four("pytorch", 20), *four("mxnet", 25), *four("jax", 5, **other)]
    (table,), _ = tables.tables(table_of(rows), TITLES)
    fastest = {title: any(entry.fastest for entry in entries) for title, entries in table.rows.items()}
    assert [title for title, is_first in fastest.items() if is_first] == ["PyTorch"]


def test_rounds_of_another_version_threads_or_card_are_not_pooled():
    old = [ran("pytorch", 10, repeat=n, framework_version="1.0", threads=1) for n in (0, 1)]
    later = {"framework_version": "2.0", "threads": 1, "started": NOW + timedelta(hours=1)}
    new = [ran("pytorch", 20 + n / 100, repeat=n, **later) for n in (2, 3)]
    assert fields(*old, *new) == {"PyTorch": ["20 s .857 n=2"]}
    assert fields(*new, failed("pytorch", "oom", "", repeat=4)) == {"PyTorch": ["20 s .857 n=2 of 3"]}
    late = failed("pytorch", "oom", "", repeat=4, started=NOW + timedelta(hours=2))  # knows no version and no threads
    assert fields(*new, late) == {"PyTorch": ["20 s .857 n=2 of 3"]}
    assert fields(*new, {**late, "framework_version": "3.0"}) == {"PyTorch": ["failed: oom"]}


def test_boards_of_one_short_name_are_machines_of_their_own():
    rows = [
        *four("pytorch", 20, 0.857, "cuda12", "h100", gpu_name="NVIDIA H100 PCIe"),
        *four("jax", 10, 0.857, "cuda12", "h100", gpu_name="NVIDIA H100 80GB HBM3"),
    ]
    (table,), _ = tables.tables(table_of(rows), TITLES)
    assert len(table.columns) == 2
    assert not any(entry.fastest for entries in table.rows.values() for entry in entries)
    assert "with NVIDIA H100 PCIe" in shown(*rows, width=200)


def test_the_figures_of_2018_stand_beside_shortened_runs_unless_all_are_short():
    short = ran("pytorch", 100, 0.6, workload="densenet121", metric="auc", epochs=5, samples=52, shortened=True)
    full = ran("pytorch", 100)
    for these, shown_too in (((short, full), True), ((short,), False)):
        every, _ = tables.tables(table_of(these), TITLES, published=True)
        (densenet,) = (table for table in every if table.workload == "densenet121")
        assert any("2018" in line for column in densenet.columns for line in column) == shown_too


def test_a_run_that_names_no_machine_joins_none():
    rows = [*four("pytorch", 20), *four("mxnet", 10, cpu=None, cores=None)]
    (table,), _ = tables.tables(table_of(rows), TITLES)
    assert len(table.columns) == 2


def test_a_run_that_failed_early_joins_the_machine_of_its_host_that_has_such_a_card():
    rows = [
        *four("pytorch", 20),
        *four("pytorch", 2, 0.857, "cuda12", "h100", **XEON),
        failed("mxnet", "oom", "", host="elsewhere"),
        failed("mxnet", "oom", "", "cuda12", "h100", host="elsewhere"),
        failed("jax", "oom", "", "cuda12", "v100", host="here"),
        failed("jax", "oom", "", "cuda12", "a100", host="elsewhere"),
    ]
    machines = {(row["library"], row["gpu"]): row["machine"] for row in with_machines(rows)}
    assert machines["mxnet", "none"] == (EPYC["cpu"], EPYC["cores"])
    assert machines["mxnet", "h100"] == (XEON["cpu"], XEON["cores"])
    assert machines["jax", "v100"] == (EPYC["cpu"], EPYC["cores"])
    assert machines["jax", "a100"] is None


@pytest.mark.parametrize(("variant", "proved"), [("resized-crop", True), ("pretrained", True), ("tuned", False)])
def test_the_references_proof_stands_for_variants_that_parity_can_not_tell_from_it(variant, proved):
    image = {"proof": None, "image_digest": "sha256:1"}
    rows = [ran("mxnet", 8, variant=variant, **image), ran("mxnet", 1, **{**image, "parity": "{}", "run": "0123"})]
    (row,) = with_proofs(rows)
    assert row["proof"] == ("parity of this script and image, run 0123" if proved else None)


def test_where_one_compiles_for_a_good_part_of_its_time_all_are_ranked_warm_and_both_times_shown():
    def rounds(library: str, cold: float, warm: float | None) -> list[dict[str, Any]]:
        return [
            {**row, "seconds_warm": warm and warm * row["seconds"] / cold} for row in four(library, cold, variant="x")
        ]

    def entries(*rows: dict[str, Any]) -> dict[str, tuple[str, bool]]:
        (first,), _ = tables.tables(table_of(rows), TITLES)
        return {title.removesuffix(", x"): (line[0].spread, line[0].fastest) for title, line in first.rows.items()}

    theano, other = rounds("pytorch", 295, 195), rounds("mxnet", 200, 199.5)
    assert entries(*theano, *other) == {
        "PyTorch": ("295–296 s, n=4, 195 s warm", True),
        "MXNet": ("200–201 s, n=4", False),
    }
    (first,), _ = tables.tables(table_of([*theano, *other]), TITLES)
    assert "PyTorch, x: more than 20 % of the time goes to the first step" in first.notes[0].text
    assert entries(*rounds("pytorch", 295, 290), *other)["MXNet"][1]  # no good part: ranked as published
    assert entries(*theano, *rounds("mxnet", 200, None))["MXNet"][1]  # nobody knows the other's


def test_what_can_t_be_told_from_the_fastest_is_marked_too():
    def rounds(library: str, *seconds: float) -> list[dict[str, Any]]:
        return [ran(library, value, repeat=n) for n, value in enumerate(seconds)]

    def fastest(*rows: dict[str, Any]) -> set[str]:
        (first,), _ = tables.tables(table_of(rows), TITLES)
        return {library for library, entries in first.rows.items() if any(entry.fastest for entry in entries)}

    quick, same = rounds("pytorch", 10, 10.2, 10.4, 10.6), rounds("mxnet", 10.1, 10.3, 10.5, 10.7)
    slow = rounds("jax", 11, 11.1, 11.2, 11.3)
    assert fastest(*quick, *same, *slow) == {"PyTorch", "MXNet"}
    assert fastest(*quick[:3], *same, *slow) == {"MXNet"}  # too few rounds to say anything of the other
    assert fastest(*quick[:3], *same[:3], *slow[:3]) == set()


def test_precision_and_variant_stand_beside_the_library():
    half = ran("pytorch", 9, 0.857, "cuda12", "h200", precision="amp-fp16", variant="highapi")
    assert fields(ran("pytorch", 10, 0.857, "cuda12", "h200"), half) == {
        "PyTorch": ["10 s .857"], "PyTorch, amp-fp16, highapi": ["9.0 s .857"],
    }  # fmt: skip


def test_tuned_scripts_have_a_column_of_their_own_and_rank_among_themselves():
    tuned = {"variant": "tuned"}
    table = [*four("pytorch", 30), *four("mxnet", 20), *four("pytorch", 12, **tuned), *four("chainer", 24)]
    (first, *_), _ = tables.tables(table_of([*table, *four("mxnet", 16, **tuned)]), TITLES)
    assert first.columns == [("CPU",), ("CPU", "tuned"), ("CPU", "tuned", "gain")]
    assert {title: [entry.time for entry in line] for title, line in first.rows.items()} == {
        "chainer": ["24 s", "", ""],
        "MXNet": ["20 s", "16 s", "1.25 ×"],
        "PyTorch": ["30 s", "12 s", "2.50 ×"],
    }
    assert [[title for title, line in first.rows.items() if line[n].fastest] for n in range(3)] == [
        ["MXNet"],
        ["PyTorch"],
        [],
    ]


def test_a_gain_of_few_rounds_says_of_how_few():
    tuned = four("pytorch", 10, variant="tuned")
    (table,), _ = tables.tables(table_of([*four("pytorch", 20), *tuned]), TITLES)
    assert (table.rows["PyTorch"][2].time, table.rows["PyTorch"][2].spread) == ("2.00 ×", "")
    (table,), _ = tables.tables(table_of([*four("pytorch", 20), tuned[0]]), TITLES)
    assert table.rows["PyTorch"][2].spread == "n=1"


def test_a_gain_is_told_of_runs_of_the_same_length_only():
    (first, *_), _ = tables.tables(table_of([ran("pytorch", 30), ran("pytorch", 1, variant="tuned", **SHORT)]), TITLES)
    assert first.columns == [("CPU",), ("CPU", "tuned")]


def test_several_gpus_are_a_column_of_their_own():
    text = shown(
        ran("pytorch", 10, 0.857, "cuda12", "h200"), ran("pytorch", 4, 0.857, "cuda12", "h200", n_gpus=4, repeat=1)
    )
    assert "4 × H200" in text
    assert text.count("CUDA 12") == 2


def test_text_of_strangers_steers_neither_terminal_nor_markup():
    evil = "\x1b[2J[red]\x07|<b>`x`"
    row = failed(evil, "failed", f"{evil}\nsecond line", workload=evil, host=evil)
    text = shown(row, force_terminal=True, color_system=None)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]" in text
    assert "second line" not in text
    document = markdown.document(table_of([row]), TITLES)
    assert "<b>" not in document.replace("\\<b>", "")
    assert document.count("|") - document.count("\\|") == 9


def test_libraries_have_the_titles_of_images_and_of_the_published_tables():
    titles = rows.library_titles()
    assert (titles["jax"], titles["knet"], titles["keras-tf"]) == ("JAX (Flax)", "Julia (Knet)", "Keras (TF)")


@given(st.floats(0, 1e6))
def test_a_duration_keeps_two_digits_and_is_right_to_five_percent(seconds):
    text = duration(seconds)
    assert text.endswith(" s")
    assert float(text[:-2].replace(",", "")) == pytest.approx(seconds, rel=0.051, abs=0.0051)


def test_different_starts_stand_in_columns_of_their_own_and_do_not_rank_together():
    dense = {"workload": "densenet121", "metric": "auc"}
    rows_of_both = [
        *four("pytorch", 1700.0, 0.816, "cuda9", "v100", start="imagenet", **dense),
        *four("mxnet", 1800.0, 0.815, "cuda9", "v100", start="imagenet", **dense),
        *four("cntk", 1500.0, 0.79, "cuda9", "v100", start="random", **dense),
        failed("knet", "oom", "killed by the kernel: out of memory", "cuda9", "v100", **dense),  # does not tell
        cannot("caffe2", "no wheel", "cuda9", "v100", workload="densenet121"),
    ]
    (table, *_), _ = tables.tables(table_of(rows_of_both), TITLES)
    assert table.columns == [("CUDA 9", "V100", "ImageNet weights"), ("CUDA 9", "V100", "random weights")]
    fastest = {name: [entry.fastest for entry in entries] for name, entries in table.rows.items()}
    assert fastest["PyTorch"] == [True, False]
    assert not any(fastest["MXNet"] + fastest["CNTK"])  # CNTK took less, but is alone in its column
    assert [entry.time for entry in table.rows["caffe2"]] == ["–", "–"]
    assert table.rows["Julia (Knet)"][0].time
    assert not table.rows["Julia (Knet)"][1].time


def test_input_lag_is_told_whatever_the_start_of_the_real_run():
    dense = {"workload": "densenet121", "metric": "auc"}
    real = ran("pytorch", 1700.0, 0.816, "cuda9", "v100", start="imagenet", **dense)
    fake = ran("pytorch", 1500.0, 0.5, "cuda9", "v100", start="random", data="synthetic", **dense)
    (table, *_), _ = tables.tables(table_of([real, fake]), TITLES)
    assert table.columns[-1] == ("CUDA 9", "V100", "ImageNet weights", "input lag")
    assert table.rows["PyTorch"][-1].time == "200 s, 12 %"


def test_the_share_of_a_cards_peak_stands_beside_its_times_if_asked_for():
    card = ran("pytorch", 10.0, 0.857, "cuda12", "h200", epochs=3, samples=24960)
    (first, *_), _ = tables.tables(table_of([card, ran("pytorch", 300.0)]), TITLES, costs=Costs([COSTS["peak"]]))
    assert first.columns == [("CPU",), ("CUDA 12", "H200"), ("CUDA 12", "H200", "of its peak")]
    assert [entry.time for entry in first.rows["PyTorch"]] == ["300 s", "10 s", "0.68 %"]


def test_energy_memory_and_price_stand_beside_times_where_somebody_tells_them(tmp_path):
    (tmp_path / "prices.yaml").write_text("h200: 36\nnone: 0.5\n")
    costs = Costs([COSTS[name] for name in ("energy", "memory", "price")], read_prices(tmp_path / "prices.yaml"))
    used = {"epochs": 3, "samples": 1000, "energy": 6000.0, "gpu_peak_memory": 2_500_000_000}
    card = ran("pytorch", 10.0, 0.857, "cuda12", "h200", n_gpus=2, **used)
    (first, *_), _ = tables.tables(table_of([card, ran("mxnet", 360.0, container_memory=10**9)]), TITLES, costs=costs)
    assert [column[-1] for column in first.columns[2:]] == ["memory", "price", "J per 1,000", "memory", "price"]
    assert [entry.time for entry in first.rows["PyTorch"]] == ["", "10 s", "", "", "2,000 J", "2.50 GB", "0.2"]
    assert [entry.time for entry in first.rows["MXNet"]] == ["360 s", "", "1.00 GB", "0.05", "", "", ""]


def test_time_to_accuracy_is_that_of_whole_epochs_and_of_what_came_ahead_of_them():
    costs = Costs([COSTS["accuracy"]])
    epochs = {"epochs": 3, "samples": 24960, "epoch_seconds": [30.0, 20.0, 40.0], "upload_seconds": 10.0}
    reached = ran("pytorch", 100.0, 0.857, epoch_qualities=[0.7, 0.83, 0.857], **epochs)
    never = ran("mxnet", 100.0, 0.82, epoch_qualities=[0.7, 0.8, 0.82], **epochs)
    (table, *_), _ = tables.tables(table_of([reached, never, ran("chainer", 90.0)]), TITLES, costs=costs)
    assert [column[-1] for column in table.columns] == ["CPU", "to accuracy"]
    assert {library: entries[1].time for library, entries in table.rows.items() if entries[0].time} == {
        "PyTorch": "60 s", "MXNet": "", "chainer": "",
    }  # fmt: skip


def test_a_badge_for_each_field_says_time_and_quality_and_no_more_than_is_known(tmp_path):
    short = ran("mxnet", 20, 0.8, shortened=True)
    every, _ = tables.tables(table_of([ran("pytorch", 10), short, ran("<a&b>/..", 30)]), TITLES)
    assert badges.write(every, tmp_path / "made") == 3
    found = {path.name: ElementTree.fromstring(path.read_text()) for path in (tmp_path / "made").iterdir()}
    assert sorted(found) == ["rnn-a-b-cpu.svg", "rnn-mxnet-cpu.svg", "rnn-pytorch-cpu.svg"]
    assert found["rnn-pytorch-cpu.svg"].get("aria-label") == "PyTorch, rnn, CPU: 10 s .857"
    assert found["rnn-mxnet-cpu.svg"].get("aria-label") == "MXNet, rnn, CPU: 20 s† .800"
    assert found["rnn-a-b-cpu.svg"].get("aria-label") == "<a&b>/.., rnn, CPU: 30 s .857"
    colours = {name: badge.find("{*}path").get("fill") for name, badge in found.items()}
    assert colours["rnn-mxnet-cpu.svg"] == badges.GREY
    assert badges.badge({"library": "a", "workload": "b", "column": "c", "time": "failed", "marks": "", "quality": "",
                         "status": "failed"}).count(badges.COLOURS["failed"]) == 1  # fmt: skip


@pytest.mark.parametrize("content", ["v100: x", "v100: -1", "[1, 2]", "v100: {a: 1}", "v100: .inf"])
def test_odd_prices_are_refused_by_name(content, tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(content)
    with pytest.raises(MatrixError, match=r"prices.yaml is not a list of prices"):
        read_prices(path)


def test_the_tables_for_programs():
    every, _ = tables.tables(table_of([*four("pytorch", 10), ran("mxnet", 20, 0.8), ran("=1+1", 30)]), TITLES)
    found = {record["library"]: record for record in json.loads(formats.as_json(every))}
    assert found["PyTorch"]["value"] == found["PyTorch"]["seconds"]
    assert found["PyTorch"] | {"seconds": 0, "value": 0} == {
        "workload": "rnn", "library": "PyTorch", "column": "CPU", "time": "10 s", "value": 0, "unit": "s", "seconds": 0,
        "quality": ".857", "marks": "", "spread": "n=4", "rounds": 4, "fastest": False, "status": "ok",
    }  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(formats.as_csv(every))))
    assert [line["library"] for line in lines] == ["'=1+1", "MXNet", "PyTorch"]
    page = formats.as_html(tables.tables(table_of([ran("<b>", 1)]), TITLES)[0])
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_what_a_run_costs_is_a_number_with_a_unit_for_programs():
    facts = {"gpu_peak_memory": 2_500_000_000, "energy": 300_000.0, "epochs": 1, "samples": 25_000}
    costs = Costs([COSTS[name] for name in ("energy", "memory", "price")], {"v100": 3.6})
    every, _ = tables.tables(table_of([ran("pytorch", 100, 0.86, "cuda9", "v100", **facts)]), TITLES, costs=costs)
    lines = {line["column"]: line for line in csv.DictReader(io.StringIO(formats.as_csv(every)))}
    found = {column.rpartition("V100 ")[2]: (float(line["value"]), line["unit"]) for column, line in lines.items()}
    assert {name: said for name, said in found.items() if "V100" not in name} == {
        "J per 1,000": (12_000, "J"), "memory": (2.5, "GB"), "price": (pytest.approx(0.1), ""),
    }  # fmt: skip
    dense = {"workload": "densenet121", "metric": "auc"}
    fake = ran("pytorch", 80, 0.5, "cuda9", "v100", data="synthetic", **dense)
    every, _ = tables.tables(table_of([ran("pytorch", 100, 0.8, "cuda9", "v100", **dense), fake]), TITLES)
    (lag,) = [one for one in formats.records(every) if one["column"].endswith("input lag")]
    assert (lag["value"], lag["unit"], lag["seconds"]) == (20, "s", None)


def test_a_card_without_a_price_is_named_with_the_nearest_that_has_one(tmp_path):
    rows = table_of(
        [ran("pytorch", 10, 0.86, "cuda9", "v100"), ran("pytorch", 100), cannot("mxnet", "no", "cuda8", "k80")]
    )
    path = tmp_path / "prices.yaml"
    assert list(unpriced(rows, {"V100": 3.06}, path)) == [
        f"{path} has no price for CPUs ('none'), so none is shown",
        f"{path} has no price for 'v100'; is it 'V100' there?",
    ]
    assert len(list(unpriced(rows, {}, path))) == 2
    assert list(unpriced(rows, {"v100": 3.06, "none": 0.1}, path)) == []


def test_a_row_that_tells_no_cores_stands_beside_those_that_do():
    machines = [("EPYC", 2), ("EPYC", None), None, ("", 1)]
    assert list(rows.letters_of(machines).values()) == ["A", "B", "C", "D"]
    assert set(rows.letters_of(machines)) == set(machines)
    assert rows.letters_of([("EPYC", None)]) == {("EPYC", None): ""}


@pytest.mark.parametrize("count", [26, 27, 700])
def test_no_two_machines_share_a_letter_however_many_there_are(count):
    letters = list(rows.letters_of([(f"CPU {number:03}", 2) for number in range(count)]).values())
    assert len(set(letters)) == count
    assert sorted(letters) == letters  # so columns stand in the order of their machines


def test_times_of_many_machines_are_not_pooled():
    many = [ran("pytorch", 10 + number, cpu=f"CPU {number:02}", cores=2) for number in range(30)]
    (table, *_), _ = tables.tables(table_of(many), TITLES)
    assert [entry.time for entry in table.rows["PyTorch"]] == [f"{10 + number} s" for number in range(30)]
    assert len(set(table.columns)) == len(table.machines) == 30


@pytest.mark.parametrize("form", ["screen", "markdown"])
def test_line_breaks_in_the_name_of_a_machine_make_no_lines(form):
    forged = [ran("pytorch", 10, cpu="EPYC\n\n# Heading\r\n| a | b |", cores=2), ran("mxnet", 11, **XEON)]
    every, marks = tables.tables(table_of(forged), TITLES)
    out = io.StringIO()
    if form == "markdown":
        out.write(markdown.as_markdown(every, marks))
    else:
        screen.print_tables(every, marks, Console(file=out, width=200))
    assert not any(line.lstrip().startswith(("# Heading", "| a")) for line in out.getvalue().splitlines())
    assert "EPYC # Heading" in out.getvalue()


def test_smoke_runs_say_how_long_they_were_where_that_differs():
    long, short = ran("mxnet", 9.0, **SHORT), ran("pytorch", 3.0, **{**SHORT, "epochs": 1, "samples": 256})
    assert fields(long, ran("pytorch", 3.0, **SHORT)) == {"MXNet": ["9.0 s† .857"], "PyTorch": ["3.0 s† .857"]}
    assert fields(long, short, ran("cntk", 20.0)) == {
        "CNTK · reset first": ["20 s .857"],
        "MXNet": ["9.0 s† .857 2 × 1,280"],
        "PyTorch": ["3.0 s† .857 1 × 256"],
    }

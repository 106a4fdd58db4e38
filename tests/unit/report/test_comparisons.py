"""Comparisons as CI systems show them: Markdown for a summary or a comment, JUnit's XML for a list of tests."""

import io
import xml.etree.ElementTree as xml
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.compare.comparison import Compared, Verdict
from orchestrator.report import comparison, junit
from orchestrator.report.comparison import as_markdown


def compared(cell: str, verdict: Verdict, *reasons: str, ratio: float | None = 1.0) -> Compared:
    seconds = None if ratio is None else 10 * ratio
    baseline = None if ratio is None else 10.0
    return Compared(
        cell, 0, "real", verdict, reasons, "base.parquet", seconds=seconds, rounds=5, baseline=baseline,
        baseline_rounds=5, ratio=ratio,
    )  # fmt: skip


@pytest.fixture
def every() -> list[Compared]:
    return [
        compared("jax/rnn/cpu", Verdict.FAST),
        compared("pytorch/rnn/cpu", Verdict.SLOWER, "threads: 1, the baseline 2", ratio=1.7),
        compared("chainer/rnn/cpu", Verdict.UNSURE, "2 rounds of 4"),
        compared("knet/rnn/cpu", Verdict.NONE, "nothing to compare with", ratio=None),
        compared("keras-r/rnn/cpu", Verdict.FAILED, "exit code 1", ratio=None),
    ]


def test_markdown_has_what_is_bad_first_and_folds_what_was_not_compared(every):
    lines = as_markdown(every).splitlines()
    assert lines[0] == "**2 of 4 cells are slower, or failed.**"
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| pytorch/rnn/cpu", "| keras-r/rnn/cpu", "| jax/rnn/cpu", "| chainer/rnn/cpu",
    ]  # fmt: skip
    assert rows[2].endswith("| 17 s, n=5 | 10 s, n=5 | 1.70 | **slower** |")
    assert "- pytorch/rnn/cpu: threads: 1, the baseline 2" in lines
    assert lines.index("<details><summary>Not compared: nothing to compare with</summary>") < lines.index("</details>")


@pytest.mark.parametrize("width", [20, 40, 80])
def test_names_of_cells_are_whole_on_a_narrow_screen(every, width):
    out = io.StringIO()
    comparison.show(every, Console(file=out, width=width))
    assert "…" not in out.getvalue()
    letters = "".join(out.getvalue().split())
    assert all(one.cell in letters for one in every)
    assert "10s,n=5" in letters


def test_markdown_tells_which_cells_only_the_baseline_has(every):
    lines = as_markdown(every, ["gluon/rnn/cpu", "mxnet/rnn/cpu"]).splitlines()
    at = lines.index("<details><summary>Not compared: only in the baseline</summary>")
    assert lines[at + 3] == "gluon/rnn/cpu, mxnet/rnn/cpu"


def test_a_cell_at_two_lengths_has_two_names(tmp_path):
    both = [replace(compared("jax/rnn/cpu", Verdict.FAST), length=text) for text in ("1 epoch", "2 epochs")]
    assert [comparison.name(one) for one in both] == ["jax/rnn/cpu (1 epoch)", "jax/rnn/cpu (2 epochs)"]


def test_foreign_text_stays_text_in_markdown_and_in_xml(tmp_path):
    hostile = "</details>| **bold** <script> \x1b]52;\x07 ]]> \x00"
    every = [compared("a|b/rnn/cpu", Verdict.SLOWER, hostile), compared("c/rnn", Verdict.NONE, hostile, ratio=None)]
    text = as_markdown(every)
    assert r"a\|b/rnn/cpu" in text
    assert "\n</details>|" not in text
    assert "<script>" not in text.replace(r"\<script>", "")
    assert text.count("</details>") - text.count(r"\</details>") == 1
    junit.write(tmp_path / "diff.xml", every)
    suite = xml.parse(tmp_path / "diff.xml").getroot()
    assert suite[0].get("name") == "a|b/rnn/cpu"
    assert "<script>" in (suite[0][0].text or "")


def test_junit_counts_as_its_readers_do(every, tmp_path):
    junit.write(tmp_path / "diff.xml", every)
    suite = xml.parse(tmp_path / "diff.xml").getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("testsuite", "5", "2", "2")
    by_name = {case.get("name"): case for case in suite}
    slower = by_name["pytorch/rnn/cpu"]
    assert (slower.get("classname"), slower.get("time")) == ("pytorch.rnn", "17.000")
    assert slower[0].tag == "failure"
    assert slower[0].get("message") == "slower: 17 s, n=5, the baseline 10 s, n=5, ratio 1.70"
    assert "threads: 1, the baseline 2" in (slower[0].text or "")
    assert [by_name[name][0].tag for name in ("jax/rnn/cpu", "chainer/rnn/cpu", "knet/rnn/cpu", "keras-r/rnn/cpu")] == [
        "system-out", "skipped", "skipped", "failure",
    ]  # fmt: skip

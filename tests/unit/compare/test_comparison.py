"""verify and diff, on rows that were really measured, changed where a test needs another machine."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.agreeing import agreeing
from orchestrator.cli.main import main
from orchestrator.compare import causes, comparison
from orchestrator.compare.comparison import Verdict
from orchestrator.results.files import read_results, table_of, write_results
from tests.unit.report.test_tables import SHORT, failed, ran

MEASURED = Path("docs/results/2026-11-25-cpu.parquet")
P100 = {"cuda": "9.0", "cudnn": "7.0.5", "driver": "384.111", "gpu_name": "Tesla P100-PCIE-16GB"}


@pytest.fixture(scope="module")
def measured() -> list[dict[str, Any]]:
    rows = read_results(MEASURED).to_pylist()
    return [row for row in rows if row["workload"] == "rnn" and row["repeat"] == 2][:6]


def rounds(row: dict[str, Any], *seconds: float, **changes: Any) -> list[dict[str, Any]]:
    """A row once more for each time, as repeats."""
    return [
        {**row, "seconds": value, "repeat": n, "run": f"{row['run']}{n}{value}", **changes}
        for n, value in enumerate(seconds)
    ]


def fourfold(row: dict[str, Any], factor: float = 1.0) -> list[dict[str, Any]]:
    """A row as four rounds, which take this much longer, in no order that would be a drift."""
    return rounds(row, *[row["seconds"] * factor * share for share in (1, 1.01, 0.99, 1.005)])


def against(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], tolerance: float = 0.1) -> comparison.Compared:
    find = comparison.of_results(table_of(theirs), "theirs.parquet")
    (found,) = comparison.verify(table_of(ours), find, tolerance)
    return found


def to_2018(*rows: dict[str, Any]) -> comparison.Compared:
    (found,) = comparison.verify(table_of(rows), comparison.published, 0.1)
    return found


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    told = [{**row, "run": row["run"] or f"{name}-{number}"} for number, row in enumerate(rows)]
    write_results(table_of([agreeing(row) if row["status"] == "ok" else row for row in told]), folder / name)
    return str(folder / name)


def rosetta(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("seconds", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_a_baseline_of_others_without_a_time_is_none(measured, seconds):
    (theirs,) = rounds(measured[0], 1.0, seconds=seconds)
    assert against(measured[:1], [theirs]).verdict is Verdict.NONE


@pytest.mark.parametrize("states", ["nonsense", "[1]", '{"a": 1}', '[{"graphics_clock": "x"}]', "[" * 100_000])
def test_what_others_write_of_their_gpus_may_be_anything(measured, states):
    theirs = rounds(measured[0], *[measured[0]["seconds"] / 10] * 4, gpus_after=states)
    assert against(fourfold(measured[0]), theirs).verdict is Verdict.SLOWER


# --- verdicts -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([100], [100], Verdict.UNSURE),
        ([300], [100], Verdict.UNSURE),  # one run each: nothing can be told
        ([318, 321, 324], [99, 100, 101], Verdict.UNSURE),
        ([120, 121, 123, 122], [99, 102, 100], Verdict.UNSURE),
        ([120, 123, 121, 122], [99, 101, 100, 102], Verdict.SLOWER),
        ([106, 104, 107, 105], [99, 101, 100, 102], Verdict.FAST),  # surely slower, and surely not by 10 %
        ([100, 101, 99, 102], [99, 101, 100, 102], Verdict.FAST),
        ([80, 82, 81, 83], [99, 101, 100, 102], Verdict.FASTER),
        ([95, 180, 122, 121], [99, 131, 100, 130], Verdict.UNSURE),
        ([95, 140, 96, 97], [99, 101, 100, 102], Verdict.UNSURE),  # as fast, but for one that nobody understands
        ([120, 122, 124, 126], [100, 102, 104, 106], Verdict.UNSURE),  # both drift, and ours ran later
        ([900, 901, 902, 903], [100, 100.1, 100.2, 100.3], Verdict.SLOWER),  # by more than such a drift can make
        ([100, 100.1, 100.2, 100.3], [100, 100.1, 100.2, 100.3], Verdict.FAST),
        ([80, 80.8, 81.6, 82.4], [100, 101, 102, 103], Verdict.FASTER),
    ],
)
def test_slower_is_what_is_slower_by_more_than_the_threshold_and_by_more_than_chance(
    measured, ours: list[float], theirs: list[float], verdict: Verdict
):
    started = measured[0]["started"]
    later = [{**row, "started": started + timedelta(minutes=n)} for n, row in enumerate(rounds(measured[0], *ours))]
    found = against(
        later,
        [{**row, "started": started + timedelta(minutes=n)} for n, row in enumerate(rounds(measured[0], *theirs))],
    )
    assert (found.verdict, found.rounds, found.baseline_rounds) == (verdict, len(ours), len(theirs))
    told = min(len(ours), len(theirs)) >= 4
    assert (found.interval is not None, found.p is not None, found.p_of_all is not None) == (told, told, told)


def test_what_can_t_be_told_says_how_many_rounds_that_lacks(measured):
    found = against(rounds(measured[0], 300, 310), rounds(measured[0], 100))
    assert found.reasons[0] == "it takes at least 4 rounds to tell: 2 more here, 3 more of the baseline"


def test_among_many_cells_that_are_equal_one_that_differs_by_chance_is_none(measured):
    theirs = [
        row for number, row in enumerate(measured) for row in rounds(row, *[100 + number + n % 3 for n in range(4)])
    ]
    ours = [dict(row, run=row["run"] + "b") for row in theirs]
    for row in ours:
        if row["cell"] == measured[0]["cell"]:
            row["seconds"] *= 1.2
    found = comparison.verify(table_of(ours), comparison.of_results(table_of(theirs), "theirs.parquet"), 0.1)
    (one,) = [each for each in found if each.cell == measured[0]["cell"]]
    assert (one.verdict, round(one.p, 3), one.p_of_all > 0.05) == (Verdict.UNSURE, 0.028, True)
    assert f"among {len(found)} cells, a single slow one shows only from 5 rounds on" in one.reasons[0]


def test_ratio_and_interval():
    found = against(rounds(ran("pytorch", 0), 22, 20, 24, 22), rounds(ran("pytorch", 0), 20, 20, 20, 20))
    assert (found.ratio, found.interval) == (pytest.approx(1.1), pytest.approx((1.0, 1.2)))
    assert (found.seconds, found.baseline, found.source) == (22, 20, "theirs.parquet")


def test_a_cell_that_failed_is_bad_and_says_why():
    found = against([failed("pytorch", "quality", "accuracy .512 lies outside .83–.88")], [ran("pytorch", 20)])
    assert found.verdict is Verdict.FAILED
    assert found.reasons == ("quality: accuracy .512 lies outside .83–.88",)


def with_failures(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The rounds, and as many more that failed."""
    lost = {"status": "failed", "reason": "exit code 1\nmore", "seconds": None, "quality": None}
    return [*rows, *({**rows[0], **lost, "repeat": 100 + n, "run": f"lost {n}"} for n in range(number))]


@pytest.mark.parametrize("theirs", ["the same", "nothing"])
def test_a_cell_of_which_some_rounds_failed_has_failed_however_fast_the_others_were(measured, theirs):
    good = rounds(measured[0], 100, 101, 99, 102)
    baseline = good if theirs == "the same" else rounds(measured[1], 100)
    found = against(with_failures(good, 2), baseline)
    assert (found.verdict, found.reasons[0]) == (Verdict.FAILED, "2 of 6 rounds failed: failed: exit code 1")
    assert found.ratio == (1.0 if theirs == "the same" else None)


def test_rounds_of_the_baseline_that_failed_are_told(measured):
    good = rounds(measured[0], 100, 101, 99, 102)
    found = against(good, with_failures(good, 1))
    assert (found.verdict, found.baseline_rounds) == (Verdict.FAST, 4)
    assert found.reasons[0] == "the baseline is doubtful: 1 of 5 rounds failed: failed: exit code 1"


def test_cells_that_were_run_at_several_lengths_tell_theirs(measured):
    short = {**ran("pytorch", 3), "epochs": 1, "samples": 640, "shortened": True}
    rows = table_of([ran("pytorch", 20), short, ran("mxnet", 20)])
    found = comparison.verify(rows, comparison.of_results(rows, "same"), 0.1)
    assert [one.length for one in found if "mxnet" in one.cell] == [""]
    lengths = [one.length for one in found if "pytorch" in one.cell]
    assert lengths[0] == "1 epoch, 640 samples"
    assert len(set(lengths)) == len(lengths) == 2


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ([ran("mxnet", 20)], "not in the baseline"),
        ([ran("pytorch", 3, epochs=1, shortened=True)], "of another length in the baseline"),
        ([ran("pytorch", 3, **SHORT)], "not in the baseline"),
        ([failed("pytorch", "oom", "")], "failed in the baseline: oom"),
        ([ran("pytorch", 3, shortened=True)], "shortened on one side only"),
    ],
)
def test_what_is_not_the_same_is_not_compared(theirs: list[dict[str, Any]], why: str):
    found = against([ran("pytorch", 30)], theirs)
    assert (found.verdict, found.reasons, found.ratio) == (Verdict.NONE, (why,), None)


BUSY = {"load_after": 9.0}


@pytest.mark.parametrize(("quiet", "verdict"), [(4, Verdict.SLOWER), (3, Verdict.UNSURE)])
def test_what_undisturbed_rounds_say_by_themselves_counts_if_they_are_enough(measured, quiet, verdict):
    """As in a job of CI, whose first rounds run beside what building the images has left of a load."""
    good = rounds(measured[0], 100, 101, 99, 102)
    ours = rounds(measured[0], 400, 390, *[150, 151, 149, 152][:quiet])
    held_up = [*({**row, "load_before": 9.0} for row in ours[:2]), *ours[2:]]
    assert against(held_up, good).verdict is verdict
    as_fast = against(rounds(measured[0], 100, 101, 99, 102), held_up)
    assert as_fast.verdict is (Verdict.FASTER if quiet == 4 else Verdict.UNSURE)


def test_slow_rounds_that_made_their_own_load_are_not_left_out(measured):
    good = rounds(measured[0], 100, 101, 99, 102)
    ours = rounds(measured[0], 143, 142, 104, 105, 144, 145, 143, 103, 106, 141)
    found = against([{**row, "load_after": 1.4 if row["seconds"] > 140 else 1.0} for row in ours], good)
    assert (found.verdict, found.rounds) == (Verdict.UNSURE, 10)
    assert found.reasons[0].startswith("the machine was busy")


@pytest.mark.parametrize(
    ("factor", "ours", "theirs", "verdict", "why"),
    [
        (1.5, BUSY, {}, Verdict.UNSURE, "the machine was busy, which alone may make it slower: run it again alone"),
        (1.0, BUSY, {}, Verdict.FAST, ""),  # even so
        (1.0, {}, BUSY, Verdict.UNSURE, "the machine was busy when the baseline was measured"),
        (0.5, {}, BUSY, Verdict.UNSURE, "the machine was busy when the baseline was measured"),
        (1.5, {}, BUSY, Verdict.SLOWER, ""),  # than what was held up itself
        (1.0, {}, {"gpu": "h200", "gpu_others": 3}, Verdict.UNSURE, "other programs were on the GPU when the baseline"),
    ],
)
def test_what_ran_beside_a_run_made_it_slower_never_faster(measured, factor, ours, theirs, verdict, why):
    found = against(
        [{**row, **ours} for row in fourfold(measured[0], factor)],
        [{**row, **theirs} for row in fourfold(measured[0])],
    )
    assert found.verdict is verdict
    assert found.reasons[0].startswith(why) if why else True


def test_rounds_of_other_starts_are_not_pooled():
    row = ran("pytorch", 100, workload="densenet121", metric="auc")
    imagenet, random = ([{**each, "start": start} for each in fourfold(row)] for start in ("imagenet", "random"))
    assert against(imagenet, random).reasons == ("started from other weights in the baseline",)
    both = comparison.verify(table_of([*imagenet, *rounds(random[0], 200, 201)]), lambda *_: "nothing", 0.1)
    starts = sorted(one.length.rpartition(", ")[2] for one in both)
    assert starts == ["ImageNet weights", "random weights"]


def test_short_runs_of_one_length_are_compared_with_each_other():
    ours, theirs = fourfold(ran("pytorch", 30, **SHORT)), fourfold(ran("pytorch", 20, **SHORT))
    assert against(ours, theirs).verdict is Verdict.SLOWER


def test_rounds_of_two_machines_are_no_repeats():
    mixed = [ran("pytorch", 20), ran("pytorch", 90, repeat=1, cpu="a slower one", cores=2)]
    assert (against(mixed, [ran("pytorch", 20)]).rounds, against(mixed, [ran("pytorch", 20)]).seconds) == (1, 90)
    assert "1 round left out: on another machine, or with other threads" in against(mixed, [ran("pytorch", 20)]).reasons
    older = [{**row, "threads": None if number < 2 else 2} for number, row in enumerate(fourfold(ran("pytorch", 20)))]
    assert against(older, fourfold(ran("pytorch", 20))).rounds == 4
    mixed = [ran("pytorch", 20, repeat=n, threads=threads) for n, threads in enumerate((2, 1, 2, 1, None))]
    assert against(mixed, [ran("pytorch", 20)]).rounds == 3  # the last to tell had one thread


# --- against 2018 ---------------------------------------------------------------------------------------------------
def test_against_the_figure_of_2018():
    row = ran("pytorch", 60, 0.78, "cuda9", "p100", workload="cnn", **P100)
    found = to_2018(*fourfold(row))
    assert (found.verdict, found.baseline, found.source[:12]) == (Verdict.SLOWER, 51.2, "2018, README")
    assert found.interval is not None
    assert found.interval[0] > 1.1
    assert to_2018(*fourfold(row, 51.2 / 60)).verdict is Verdict.FAST
    assert to_2018(*rounds(row, 90, 45, 60, 120)).verdict is Verdict.UNSURE  # it may have been as noisy


def test_a_single_run_tells_nothing_against_2018():
    found = to_2018(ran("pytorch", 600, 0.78, "cuda9", "p100", workload="cnn", **P100))
    assert (found.verdict, found.p) == (Verdict.UNSURE, None)
    assert found.reasons[0] == "it takes at least 4 rounds to tell: 3 more here"


def test_a_doubtful_figure_says_so():
    found = to_2018(ran("pytorch", 20, 0.86, "cuda9", "p100", **P100))
    assert "the baseline is doubtful: notebook at same commit records 12.6 s" in found.reasons


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (ran("pytorch", 5, 0.5, "cuda9", "p100", epochs=1, shortened=True), "shortened: 2018 has full runs only"),
        (ran("pytorch", 5, 0.8, "cuda12", "h200"), "2018 has no figure for it"),
        (ran("jax", 5, 0.8, "cuda9", "p100"), "2018 has no figure for it"),
        (ran("pytorch", 5, 0.8, "cuda9", "v100", precision="amp-fp16"), "2018 has no amp-fp16"),
        (ran("pytorch", 5), "2018 has no figure for it"),
    ],
)
def test_what_2018_can_t_answer(row: dict[str, Any], why: str):
    assert (to_2018(row).verdict, to_2018(row).reasons) == (Verdict.NONE, (why,))


# --- reasons --------------------------------------------------------------------------------------------------------
GPU = {"gpu": "p100", "platform": "cuda9", **P100}


def state(**changes: Any) -> str:
    known = {"graphics_clock": 1328, "memory_clock": 715, "power_limit": 250.0, "throttled": []}
    return json.dumps([{"uuid": "GPU-0", **known, **changes}])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus_after": state(throttled=["power cap"])}, "the GPU was slowed down: power cap"),
        ({"cudnn": None}, "no cuDNN was loaded"),
        ({"cudnn": "6.0.21"}, "older cuDNN: 6.0.21, the baseline 7.0.5"),
        ({"cuda": "8.0.61"}, "older CUDA: 8.0.61, the baseline 9.0"),
        ({"driver": "375.26"}, "older driver: 375.26, the baseline 384.111"),
        ({"gpu_name": "P100-12GB"}, "another model of the card: P100-12GB, the baseline Tesla P100-PCIE-16GB"),
        ({"gpus_after": state(graphics_clock=700)}, "lower clock of the GPU: 700 MHz, the baseline 1,328 MHz"),
        ({"gpus_after": state(power_limit=180.0)}, "lower power limit: 180 W, the baseline 250 W"),
        ({"cores": 1}, "fewer cores: 1, the baseline 2"),
        ({"cpu": "AMD EPYC 7742"}, "another CPU: AMD EPYC 7742, the baseline AMD EPYC 7B13"),
        ({"first_step_seconds": 12.0}, "the first step took 12.0 s of 30.0 s"),
        ({"epoch_seconds": [5.0, 6.0, 19.0]}, "epochs took 5.0 to 19.0 s: something else ran meanwhile"),
        ({"engine": "process"}, "run without a container, with this machine's own libraries"),
        ({"framework_version": "0.4.0"}, "another version of the library: 0.4.0, the baseline 0.3.1"),
    ],
)  # fmt: skip
def test_a_reason_for_each_thing_that_is_recorded(changes: dict[str, Any], said: str):
    usual = ran("pytorch", 30, 0.86, "cuda9", "p100", gpus_after=state(), framework_version="0.3.1", **P100)
    assert list(causes.reasons([usual], usual)) == []
    assert list(causes.reasons([{**usual, **changes}], usual)) == [said]


def test_rounds_that_lie_apart_are_a_reason():
    row = ran("pytorch", 30)
    (said,) = causes.reasons(rounds(row, 20, 30, 40), row)
    assert said == "the rounds are 67 % apart: the machine was not quiet"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"load_before": 16.0, "load_after": 1.0}, "the machine was busy: a load per core of 16.0 before the run"),
        ({"cpu_used": 0.5, "cores": 2}, "it used 50 % of its 2 cores with 2 threads; "),
        ({"cpu_in_kernel": 0.504}, "the kernel took 50 % of its processor time, often to clear memory"),
    ],
)
def test_a_busy_machine_idle_cores_and_a_busy_kernel_are_reasons(changes: dict[str, Any], said: str):
    row = ran("pytorch", 30, cpu_used=0.89, threads=2)
    assert list(causes.reasons([row], row)) == []
    (found,) = causes.reasons([{**row, **changes}], row)
    assert found.startswith(said)


def test_verify_names_what_did_not_use_its_cores_whatever_the_verdict():
    idle = [{**row, "cpu_used": 0.5, "threads": 1} for row in fourfold(ran("pytorch", 30))]
    found = against(idle, fourfold(ran("pytorch", 30)))
    assert (found.verdict, len(found.reasons)) == (Verdict.FAST, 1)
    found = to_2018(*idle)
    assert found.verdict is Verdict.NONE
    assert found.reasons[1].startswith("it used 50 % of its 2 cores")


def test_verify_names_a_busy_kernel_whatever_the_verdict_but_not_beside_a_gpu():
    row = ran("pytorch", 30, cpu_in_kernel=0.5)
    found = against(fourfold(row), fourfold(row))
    assert (found.verdict, len(found.reasons)) == (Verdict.FAST, 1)
    assert "Memory that comes and goes" in found.reasons[0]
    assert list(causes.of_cores([{**row, "cpu_in_kernel": 0.2}, {**row, "gpu": "h200"}])) == []


# --- commands -------------------------------------------------------------------------------------------------------
def test_verify_against_a_published_file(tmp_path: Path, measured):
    slow = [row for each in measured[:2] for row in fourfold({**each, "cores": 1}, 1.5)]
    theirs = [row for each in measured for row in fourfold(each)]
    file = written(tmp_path, "mine.parquet", [*slow, *(row for each in measured[2:] for row in fourfold(each))])
    published = written(tmp_path, "published.parquet", theirs)
    found = rosetta("verify", file, "--against", published)
    assert found.exit_code == 0  # two of six, with four rounds each: that may be chance
    assert found.output.count("can't tell") == 2
    assert found.output.count("among 6 cells, a single slow one shows only from 5 rounds on") == 2
    file = written(tmp_path, "mine.parquet", slow)
    found = rosetta("verify", file, "--against", published)
    assert found.exit_code == 12
    assert found.output.count("  slower") == 2
    assert "2 of 2 cells are slower" in found.output
    assert rosetta("verify", file, "--against", published, "--threshold", "60").exit_code == 0


def test_verify_as_json(tmp_path: Path):
    row = ran("pytorch", 99, 0.78, "cuda9", "p100", workload="cnn", **P100)
    file = written(tmp_path, "mine.parquet", fourfold(row))
    found = rosetta("verify", file, "--json")
    (one,) = json.loads(found.stdout)
    assert (one["cell"], one["verdict"], one["baseline"]) == ("pytorch/cnn/cuda9/p100", "slower", 51.2)
    assert found.exit_code == 12


def test_nothing_to_compare_is_an_error_of_its_own(tmp_path: Path):
    found = rosetta("verify", written(tmp_path, "mine.parquet", [ran("pytorch", 3, **SHORT)]))
    assert found.exit_code == 4
    assert "shortened" in found.output


def test_diff_finds_what_became_slower(tmp_path: Path, measured):
    before = written(tmp_path, "a.parquet", [*fourfold(measured[0]), *fourfold(measured[-1])])
    after = written(tmp_path, "b.parquet", fourfold(measured[0], 1.07))
    assert rosetta("diff", before, after).exit_code == 0
    found = rosetta("diff", before, after, "--threshold", "5")
    assert found.exit_code == 12
    assert f"note: only in {before}: {measured[-1]['cell']}" in found.output
    assert rosetta("diff", after, before, "--threshold", "5").exit_code == 0  # faster is no regression


def test_two_seeds_that_are_equal_are_not_called_different(tmp_path: Path, measured):
    one = written(tmp_path, "a.parquet", measured)
    other = [{**row, "seconds": row["seconds"] * 1.3, "run": row["run"] + "b"} for row in measured]
    found = rosetta("diff", one, written(tmp_path, "b.parquet", other))
    assert (found.exit_code, found.output.count("can't tell")) == (0, len(measured))


def test_no_number_and_no_verdict_is_cut_on_a_narrow_screen(tmp_path: Path):
    row = ran("keras-tf-2018", 0, 0.8, "cuda12", "h200", variant="highapi", workload="resnet50")
    before = written(tmp_path, "a", rounds(row, 95, 121, 180, 121))
    found = rosetta("diff", before, written(tmp_path, "b", rounds(row, 1099, 1100, 1330, 1100)))
    assert max(map(len, found.stdout.splitlines()[:6])) <= 80
    for whole in ("1,100 s, n=4", "121 s, n=4", "9.09 (6.11–14.00)", "slower"):
        assert whole in found.stdout


def test_text_of_strangers_steers_no_terminal(tmp_path: Path):
    evil = ran("pytorch", 99, cpu="\x1b[2J\x07[red]")
    found = rosetta("diff", written(tmp_path, "a", [ran("pytorch", 20)]), written(tmp_path, "b", [evil]))
    assert "\x1b" not in found.output
    assert "[red]" in found.output

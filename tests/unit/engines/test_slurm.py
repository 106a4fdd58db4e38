"""What is asked of Slurm and made of its answers; a real one is in tests/containers/test_slurm.py."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.engines.slurm import commands, site
from orchestrator.engines.slurm import script as script_module
from orchestrator.engines.slurm.cards import GPU, Kind, Share, card_in, kinds_of, minutes, share_of
from orchestrator.engines.slurm.commands import FullError, Job
from orchestrator.engines.slurm.engine import COMMENT, refuse_endless, writable_by_slurm
from orchestrator.engines.slurm.folders import (
    ABANDONED,
    MOST_AT_A_TIME,
    Began,
    Ended,
    JobFolder,
    JobFolders,
    Order,
    job_of,
)
from orchestrator.engines.slurm.inside import way
from orchestrator.engines.slurm.judging import judged
from orchestrator.engines.slurm.remedies import remedy_of_waiting
from orchestrator.engines.slurm.script import BEGAN, ENDED, ORDER, SCRATCH, Inside, Wanted, script
from orchestrator.engines.slurm.site import Slurm
from orchestrator.engines.slurm.slots import JobSlots
from orchestrator.engines.slurm.watch import has_ended
from orchestrator.errors import EngineError, EngineGoneError, MatrixError
from orchestrator.results.paths import ResultsFolder
from orchestrator.system.host import Device

RUN = "0123456789abcdef0123456789abcdef"
ORDERED = Order(run=RUN, key="key", claim="id/key", cell="tiny/rnn/cpu", deadline=60.0, submitted=1.0, job="7")


def job(state: str, **facts: str) -> Job:
    """The job of ``ORDERED`` as Slurm has it."""
    told = {"id": "7", "reason": "None", "node": "n1", "name": "rosetta:a", "comment": f"rosetta:id/key:key:{RUN}"}
    return Job(**{**told, "state": state, **facts})


def test_a_script_asks_for_what_the_cell_the_site_and_the_deadline_say(tmp_path):
    wanted = Wanted("rosetta:a", "rosetta:c", ("gpu", "big"), "gpu:a100:2", 8, 4096, seconds=3600.0, limit=1440)
    wanted = replace(wanted, exclude=("n1", "n2"))
    own = Slurm(account="p1", qos="normal", constraint="ib&a100", modules=["apptainer/1.4"], lines=["ulimit -c 0"])
    text = script(wanted, own, tmp_path, Inside(["true"]))
    asked = {shlex.split(line)[1] for line in text.splitlines() if line.startswith("#SBATCH")}
    assert asked == {
        "--job-name=rosetta:a", "--comment=rosetta:c", f"--output={tmp_path}/output", "--open-mode=append",
        "--no-requeue", "--export=NIL", "--nodes=1", "--ntasks=1", "--partition=gpu,big", "--account=p1",
        "--qos=normal", "--constraint=ib&a100", "--gres=gpu:a100:2", "--cpus-per-task=8", "--mem=4096M", "--time=60",
        "--exclude=n1,n2",
    }  # fmt: skip
    lines = text.splitlines()
    assert lines.index("module load apptainer/1.4 || exit 1") < lines.index("ulimit -c 0")


@pytest.mark.parametrize(
    ("seconds", "limit", "asked"), [(86400.0, 60, 60), (60.0, None, 3), (60.0, 1440, 3), (86400.0, None, 1440)]
)
def test_a_job_asks_for_no_more_time_than_its_partition_gives_nor_for_more_than_a_whole_day(
    seconds, limit, asked, tmp_path
):
    text = script(Wanted("a", "", seconds=seconds, limit=limit), Slurm(), tmp_path, Inside(["true"]))
    assert f"#SBATCH --time={asked}\n" in text


def run_script(
    folder: Path, inside: Inside, seconds: float = 60.0, lines: Sequence[str] = (), **variables: str
) -> JobFolder:
    """What a job leaves whose script this machine runs."""
    (folder / ORDER).write_text("{}")
    text = script(Wanted("a", "", seconds=seconds), Slurm(lines=list(lines)), folder, inside)
    env = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(["bash"], input=text, env=env, capture_output=True, text=True, check=False)
    (folder / "output").write_text(done.stdout + done.stderr)
    return JobFolder(folder)


def test_a_job_says_when_its_cell_begins_and_ends_and_hands_on_nothing_but_what_it_was_told(tmp_path):
    told = {"OWN": "it's $HOME"}
    words = ["sh", "-c", 'env | sort; echo "$1"; [ -d "$1" ] && exit 3', "sh", SCRATCH]
    left = run_script(tmp_path, Inside(words, told), SECRET="token", CUDA_VISIBLE_DEVICES="1")
    assert left.began is not None
    assert left.began.host == os.uname().nodename
    assert left.ended is not None
    assert left.ended.code == 3
    assert left.ended.at >= left.began.at
    *variables, scratch = (tmp_path / "output").read_text().splitlines()
    names = {line.partition("=")[0] for line in variables} - {"PWD", "_", "SHLVL"}
    assert names == {"PATH", "TMPDIR", "OWN", "CUDA_VISIBLE_DEVICES"}
    assert "OWN=it's $HOME" in variables
    assert not Path(scratch).exists()  # and was there, since the exit code is the cell's


def test_a_site_whose_lines_end_at_the_first_error_loses_no_cell(tmp_path):
    left = run_script(tmp_path, Inside(["sh", "-c", "exit 3"]), lines=["set -euo pipefail; trap 'exit 1' ERR"])
    assert left.ended is not None
    assert left.ended.code == 3


@pytest.mark.parametrize("lines", [[], ["ulimit -Sf 64"], ["set -k"], ["export A=1 \\"]])
@pytest.mark.parametrize("cell", [["yes"], ["sh", "-c", "yes; exec sleep 60"]])
def test_what_a_cell_prints_has_an_end_and_its_job_says_so(cell, lines, tmp_path, monkeypatch):
    """Its output is the job's, whose script has to say that the cell ended when nothing more can be printed."""
    monkeypatch.setattr(script_module, "LARGEST_FILE", 2**16)
    (tmp_path / ORDER).write_text("{}")
    text = script(Wanted("a", "", seconds=1.0), Slurm(lines=lines), tmp_path, Inside(cell))
    with (tmp_path / "output").open("ab") as output:
        subprocess.run(["bash"], input=text, stdout=output, stderr=output, text=True, check=False)
    assert (tmp_path / "output").stat().st_size < 2**17
    ended = JobFolder(tmp_path).ended
    assert ended is not None
    assert ended.code != 0


def test_a_cell_that_takes_too_long_is_ended_by_its_job(tmp_path):
    left = run_script(tmp_path, Inside(["sleep", "30"]), seconds=1)
    order = ORDERED.model_copy(update={"deadline": 1.0})
    outcome = judged(job("COMPLETED"), left.began, left.ended, None, "", order)
    assert (outcome.status, outcome.reason) == (Status.TIMEOUT, "not finished after 1 s")


def test_a_job_that_nobody_waits_for_any_more_does_nothing(tmp_path):
    text = script(Wanted("a", ""), Slurm(), tmp_path, Inside(["touch", str(tmp_path / "ran")]))
    subprocess.run(["bash"], input=text, text=True, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("CANCELLED", "host_lost"), ("PREEMPTED", "host_lost"), ("NODE_FAIL", "host_lost"), ("BOOT_FAIL", "host_lost"),
        ("TIMEOUT", "timeout"), ("OUT_OF_MEMORY", "oom"), ("FAILED", "failed"), ("", "host_lost"),
        ("COMPLETED", "host_lost"), ("SOMETHING_NEW", "host_lost"), ("DEADLINE", "host_lost"),
    ],
)  # fmt: skip
def test_what_became_of_a_job_without_a_result_is_what_slurm_says(state, status):
    outcome = judged(job(state) if state else None, BEGAN_ON, None, None, "No space left\n", ORDERED)
    assert outcome.status == status
    assert "7" in outcome.reason
    if state == "FAILED":
        assert outcome.reason == "job 7 on n1: FAILED: No space left"


BEGAN_ON = Began(0, "n", ())


@pytest.mark.parametrize("state", ["COMPLETED", "RUNNING", "COMPLETING", "FAILED", "SOMETHING_NEW", ""])
def test_a_cell_that_left_no_result_says_its_last_line_whatever_its_job_does_meanwhile(state):
    told = job(state) if state else None
    outcome = judged(told, BEGAN_ON, Ended(1, 1), None, "ImportError: no jax\n", ORDERED)
    assert (outcome.status, outcome.reason) == (Status.FAILED, "exit code 1: ImportError: no jax")
    assert judged(told, BEGAN_ON, Ended(1, 137), None, "", ORDERED).status is Status.OOM
    assert judged(told, BEGAN_ON, Ended(1, 143), None, "", ORDERED).status is Status.HOST_LOST


@pytest.mark.parametrize("state", ["CANCELLED", "PREEMPTED", "NODE_FAIL"])
def test_what_ended_a_job_from_outside_is_not_the_cells_doing(state):
    assert judged(job(state), BEGAN_ON, Ended(1, 1), None, "Traceback\n", ORDERED).status is Status.HOST_LOST
    assert judged(job("TIMEOUT"), BEGAN_ON, Ended(1, 1), None, "", ORDERED).status is Status.TIMEOUT


def test_what_ends_before_its_cell_is_its_nodes_fault_and_says_which():
    outcome = judged(job("FAILED"), None, None, None, "module: command not found\n", ORDERED)
    reason = "job 7 on n1: FAILED, before its cell began: module: command not found"
    assert (outcome.status, outcome.reason) == (Status.HOST_LOST, reason)
    unseen = judged(job("COMPLETED"), None, None, None, "", ORDERED)
    assert unseen.reason.endswith("before its cell began: does its node see the results folder?")


@pytest.mark.parametrize("code", [126, 127, 255])
def test_what_apptainer_could_not_start_is_its_nodes_fault_unless_the_cell_has_spoken(code):
    log = "FATAL:   container creation failed: mount: no space left on device\n"
    assert judged(job("COMPLETED"), BEGAN_ON, Ended(1, code), None, log, ORDERED).status is Status.HOST_LOST
    spoken = '{"event": "phase", "phase": "load", "seconds": 1.0}\n'
    assert judged(job("COMPLETED"), BEGAN_ON, Ended(1, code), None, spoken + log, ORDERED).status is Status.FAILED


def test_a_cell_does_not_begin_where_something_lacks_that_it_needs(tmp_path):
    left = run_script(tmp_path, Inside(["true"], needs=["sh", "no-such-program"]))
    assert (left.began, left.ended) == (None, None)
    assert left.output() == b"no-such-program: command not found\n"


def test_a_job_is_known_by_its_comment_and_by_its_number_only_where_that_was_changed():
    known = {"9": job("RUNNING", id="9"), "7": job("RUNNING", comment=f"rosetta:id/key:key:{RUN[::-1]}")}
    assert job_of(ORDERED, known) == known["9"]
    del known["9"]
    assert job_of(ORDERED, known) is None, "the number was given again to another attempt"
    for name, comment, ours in (("rosetta:a", "project 7", True), ("another", "", False)):
        known["7"] = job("RUNNING", name=name, comment=comment)
        assert job_of(ORDERED, known) == (known["7"] if ours else None)


def test_states_that_end_a_job_are_all_but_those_that_wait_or_run():
    assert not any(map(has_ended, ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")))
    assert all(map(has_ended, ("COMPLETED", "CANCELLED", "NODE_FAIL", "DEADLINE")))


def test_jobs_are_read_and_what_makes_no_sense_of_others_is_passed_over():
    mine = f"rosetta:id.7/abc:abc:{RUN}"
    said = f"12|RUNNING|None|n[1-2]|a|{mine}\n13|PENDING|Priority||x||a|b\n14|PENDING|(Resources)||x|other\n"
    said += "77|RUNNING|None|n1|mine|team|rosetta: a\n"
    ours, other = commands.jobs_in(said)
    assert (ours.id, ours.state, ours.node, other.id) == ("12", "RUNNING", "n[1-2]", "14")
    found = COMMENT.fullmatch(ours.comment)
    assert found is not None
    assert found.groupdict() == {"claim": "id.7/abc", "key": "abc", "run": RUN}


@pytest.mark.parametrize(
    "line", ["x|RUNNING||||rosetta:a", "1|run ning||||rosetta:a", "1|A|B||rosetta:a", "1|A|\x1b|||rosetta:"]
)
def test_odd_lines_about_our_own_jobs_are_refused(line):
    with pytest.raises(EngineError, match="squeue printed"):
        commands.jobs_in(line)


@pytest.mark.parametrize("key", ["../../etc", "a/b", ""])
def test_a_comment_names_no_folder_but_one_of_a_results_folder(key):
    assert COMMENT.fullmatch(f"rosetta:id/a:{key}:{RUN}") is None


def test_partitions_are_the_default_or_those_that_the_site_names():
    told = list(
        commands.node_kinds_in(
            "cpu*|infinite|4|32|128000+|(null)|c[1-4]\nall|1-00:00:00|2|64+|515000|gpu:a100:4(S:0-1),gpu:t4:2|g[1-2]\n"
        )
    )
    (default,) = kinds_of(told, Slurm())
    assert (default.partition, default.limit, default.gpus) == ("cpu", None, {})
    (named,) = kinds_of(told, Slurm(partitions=["all"]))
    assert (named.limit, named.gpus, named.cpus) == (1440, {"gpu:a100": 4, "gpu:t4": 2}, 64)
    with pytest.raises(EngineError, match="no partition gpu") as error:
        kinds_of(told, Slurm(partitions=["gpu"]))
    assert "all, cpu" in error.value.remedy


@pytest.mark.parametrize(
    ("gres", "found"),
    [
        ("(null)", []), ("gpu:2", [(None, "2")]), ("gpu:a100:2(IDX:0,1),craynetwork:1", [("a100", "2")]),
        ("mps:100,gpu:h100_80:8", [("h100_80", "8")]), ("gpu:$(reboot):1", []),
        ("gpu:2(S:0-1)", [(None, "2")]), ("gpu:2080ti:4,gpu:3090:8(S:0-1)", [("2080ti", "4"), ("3090", "8")]),
        ("gpu:1g.5gb:7(S:0)", [("1g.5gb", "7")]), ("gpu:-x:1", []),
    ],
)  # fmt: skip
def test_gpus_among_the_resources_of_a_node(gres, found):
    assert [(match["type"], match["count"]) for match in GPU.finditer(gres)] == found


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("infinite", None),
        ("n/a", None),
        ("0", None),
        ("90", 90),
        ("30:00", 30),
        ("90:01", 91),
        ("12:00:00", 720),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:00", 2190),
        ("2-00:00:01", 2881),
    ],
)
def test_time_limits_in_minutes(text, limit):
    assert minutes(text) == limit


KINDS = (
    Kind("cpu", 4, 32, 0, None, {}),
    Kind("gpu", 2, 64, 512_000, 1440, {"gpu:a100": 4}, {"gpu:a100": "a100"}),
    Kind("small", 1, 16, 64_000, 60, {"gpu:a100": 1}, {"gpu:a100": "a100"}),
)


def test_a_cell_on_gpus_gets_their_share_of_the_smallest_node_that_has_them():
    one = share_of(Cell("a", "rnn", "cuda12", "a100"), KINDS, Slurm(), 1)
    assert one is not None
    assert (one.partitions, one.gres, one.cpus, one.memory) == (("gpu", "small"), "gpu:a100:1", 16, 56_000)
    two = share_of(Cell("a", "rnn", "cuda12", "a100", 2), KINDS, Slurm(memory="20G"), 1)
    assert two is not None
    assert (two.partitions, two.gres, two.cpus, two.memory, two.limit) == (("gpu",), "gpu:a100:2", 32, 40_960, 1440)
    assert share_of(Cell("a", "rnn", "cuda12", "v100"), KINDS, Slurm(), 1) is None
    exact = [replace(kind, models=dict.fromkeys(kind.models, "a100-sm80")) for kind in KINDS]
    for model, there in (("a100", True), ("a100-sm80", True), ("a100-sm90", False)):
        share = share_of(Cell("a", "rnn", "cuda12", model), exact, Slurm(), 1)
        assert (share is not None) == there
    assert share_of(Cell("a", "rnn", "cuda12", "a100", 8), KINDS, Slurm(), 1) is None


def test_a_cell_without_gpu_goes_where_there_are_none_and_asks_for_its_share_of_a_node():
    share = share_of(Cell("a", "rnn"), KINDS, Slurm(), 4)
    assert share is not None
    assert (share.partitions, share.gres, share.cpus, share.memory) == (("cpu",), "", 8, None)


def test_nodes_that_are_all_down_are_none():
    down = [replace(kind, count=0) for kind in KINDS]
    assert share_of(Cell("a", "rnn"), down, Slurm(), 4) is None
    assert share_of(Cell("a", "rnn", "cuda12", "a100"), down, Slurm(), 1) is None
    share = share_of(Cell("a", "rnn", "cuda12", "a100"), [down[-1], *KINDS[:-1]], Slurm(), 1)
    assert share is not None
    assert share.partitions == ("gpu",)


def test_the_card_of_a_probe_is_the_one_that_slurm_gave_it():
    gpu = '{"name": "NVIDIA %s", "uuid": "GPU-%d", "capability": [8, 0], "memory": 1, "power_limit": null, "mig": "off"'
    rest = ', "parent": null, "memory_used": null, "processes": null, "energy": null, "graphics_clock": null'
    rest += ', "memory_clock": null, "temperature": null, "throttled": null}'
    gpus = ", ".join(gpu % pair + rest for pair in (("A100", 0), ("T4", 1)))
    told = f'1\n{{"driver": "580.65", "cuda": [13, 0], "gpus": [{gpus}]}}'
    host = card_in(told.encode())
    assert host.devices == (Device("NVIDIA T4", "GPU-1", 1, None, False, (8, 0)),)
    assert host.driver == (580, 65)
    lost = told.replace('"uuid": "GPU-1"', '"uuid": ""').replace('"uuid": "GPU-0"', '"uuid": "GPU-0", "index": 1')
    assert [device.uuid for device in card_in(lost.encode()).devices] == ["GPU-0"]
    assert "could not be asked" in card_in(b"0\nbash: python3: command not found").lacks


def test_what_a_job_leaves_is_read_within_limits(tmp_path):
    left = JobFolder(tmp_path)
    assert (left.began, left.ended, left.order, left.output()) == (None, None, None, b"")
    (tmp_path / BEGAN).write_text("170000000.5\nnode1\nGPU-abc\n; rm -rf /\n")
    (tmp_path / ENDED).write_text("170000009\n0\n")
    assert left.began == Began(170000000.5, "node1", ("GPU-abc",))
    assert left.ended == Ended(170000009.0, 0)
    for nonsense in ("inf\n0\n", "1e9\n0", "\xff", "17\n-1\n", "17\n0x1\n", "x" * 10**6):
        (tmp_path / ENDED).write_text(nonsense)
        assert left.ended is None
    (tmp_path / ENDED).unlink()
    (tmp_path / ENDED).symlink_to("/etc/passwd")
    assert left.ended is None
    (tmp_path / "output").write_bytes(b"one\n")
    assert left.output() == b"one\n"
    with (tmp_path / "output").open("ab") as file:
        file.write(b"two\n")
    assert (left.output(), left.output()) == (b"two\n", b"")
    with (tmp_path / "output").open("ab") as file:
        file.write(b"y\n" * MOST_AT_A_TIME)
    head, _, tail = left.output().partition(b"[... cut ...]\n")
    assert (head, len(tail), left.output()) == (b"\n", MOST_AT_A_TIME, b"")
    taken_over = JobFolder(tmp_path)
    assert taken_over.output().startswith(b"one\ntwo\ny\n")
    assert taken_over.output().endswith(b"y\n" * 1000)


def test_orders_are_found_by_key_the_newest_first(tmp_path):
    folders = JobFolders(tmp_path)
    later = ORDERED.model_copy(update={"run": RUN[::-1], "submitted": time.time()})
    for order in (ORDERED, later):
        folders.made(order)
    (tmp_path / ".jobs" / "key" / "not-a-run").mkdir()
    assert folders.orders("key") == [later, ORDERED]
    assert folders.orders("other") == []
    folders.of("key", ORDERED.run).remove()
    assert folders.orders("key") == [later]


def test_what_killed_orchestrators_left_is_swept_and_what_can_be_taken_over_is_not(tmp_path):
    folders = JobFolders(tmp_path)
    kept, done, emptied, fresh, proof = (
        folders.made(ORDERED.model_copy(update={"run": number * 32, "key": key, "claim": f"id/{key[:4]}"}))
        for number, key in (("a", "key"), ("b", "done"), ("c", "key"), ("d", "key"), ("e", "proof"))
    )
    results = ResultsFolder(tmp_path)
    for row in (results.result("done", ORDERED.cell), results.parity.result("its-own", ORDERED.cell)):
        row.parent.mkdir(parents=True)
        row.touch()
    for folder, age in ((emptied, ABANDONED + 60), (fresh, 0)):
        (folder.path / ORDER).unlink()
        os.utime(folder.path, (time.time() - age,) * 2)
    folders.sweep()
    assert [folder.path.exists() for folder in (kept, done, emptied, fresh, proof)] == [True, False, False, True, False]


def test_a_job_s_folder_is_removed_however_deep_a_cell_has_made_it(tmp_path):
    folder = JobFolders(tmp_path).made(ORDERED)
    deep = "import os; [(os.mkdir('d'), os.chdir('d')) for _ in range(1500)]"
    subprocess.run([sys.executable, "-c", deep], cwd=folder.path, check=True)
    folder.remove()
    assert not folder.path.exists()


def test_no_more_jobs_are_in_the_queue_than_the_site_lets_and_models_share_them():
    slots = JobSlots(most=4, kinds=2, at_a_time=100)
    held = [slots.take("a100") for _ in range(3)]
    assert [lease is not None for lease in held] == [True, True, False]
    assert slots.take("none") is not None
    assert held[0] is not None
    slots.give_back(held[0], "a100")
    assert slots.take("a100") is not None
    slots.fit(2)
    assert slots.take("none") is None
    slots.fit(100)
    assert slots.take("none") is not None
    assert slots.take("none") is None, "more than the site lets"


def test_what_is_left_over_when_models_share_jobs_goes_to_whoever_asks():
    slots = JobSlots(most=3, kinds=2, at_a_time=100)
    held = [slots.take(model) for model in ("a100", "a100", "a100", "none", "none")]
    assert [lease is not None for lease in held] == [True, True, False, True, False]
    slots = JobSlots(most=5, kinds=4, at_a_time=100)
    held = [slots.take(model) for model in "AAABBCCDD"]
    assert [lease is not None for lease in held] == [True, True, False, True, False, True, False, True, False]


def test_the_sites_file_is_strict_and_names_the_nearest_key(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("slurm:\n  partitions: [gpu]\n  memory: 32G\n  gres: {a100: 'gpu:a100'}\n")
    assert site.read(path).slurm == Slurm(partitions=["gpu"], memory="32G", gres={"a100": "gpu:a100"})
    path.write_text("slurm: {partition: [gpu]}\n")
    with pytest.raises(MatrixError, match="unknown key") as error:
        site.read(path)
    assert error.value.remedy.startswith("Did you mean 'partitions'?")


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("--array=1-3", "--array"),
        ("-a 1-3", "-a"),
        ("-A us -o/tmp/x", "-o"),
        ("--outp=x", "--output"),
        ("--mail-type=END --comment x", "--comment"),
        ('"--output=x"', "--output"),
        ('"--o\\utput=x"', "--output"),
        ('--job-name a\\ b "-o"/tmp/x', "-o"),
        ("--job-name='x\\'y' --output=z \\'", "--output"),
        ("-Ho/tmp/x", "-o"),
        ("-sQa 1-3", "-a"),
        ("--err=/tmp/x", "--error"),
        ("-QW", "-W"),
        ("--wait", "--wait"),
        ("--test-only", "--test-only"),
        ("-M other", "-M"),
        ("--clusters=other", "--clusters"),
        ("-kM other", "-M"),
        ("--wrap=hi", "--wrap"),
    ],
)
def test_what_a_job_is_followed_by_is_not_the_sites(line, option, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps({"slurm": {"lines": [f"#SBATCH {line}"]}}))
    with pytest.raises(MatrixError, match=f"can't set {option},"):
        site.read(path)


@pytest.mark.parametrize("line", ["#PBS -o /elsewhere", "#BSUB -e /elsewhere"])
def test_options_of_other_schedulers_are_refused(line, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(f"slurm:\n  lines: ['{line}']\n")
    with pytest.raises(MatrixError, match="options of another scheduler"):
        site.read(path)


def test_a_line_with_an_open_quotation_mark_is_refused(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps({"slurm": {"lines": ['#SBATCH "--job-name=x']}}))
    with pytest.raises(MatrixError, match=r"slurm\.lines\.0 No closing quotation"):
        site.read(path)


def test_an_empty_section_sets_nothing(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("slurm:\n  # partitions: [gpu]\n")
    assert site.read(path) == site.Site()


def test_options_may_follow_their_prefix_at_once(tmp_path):
    text = script(Wanted("a", ""), Slurm(lines=["#SBATCH--mail-type=FAIL", "true"]), tmp_path, Inside(["true"]))
    assert "#SBATCH--mail-type=FAIL\n\ncd " in text


def test_other_lines_are_the_sites(tmp_path):
    path = tmp_path / "site.yaml"
    lines = ["#SBATCH --mail-type=FAIL", "#SBATCH --exclude=n1 -C ib # the lab's, see --output", "echo --output"]
    lines += ["#SBATCH --wait-all-nodes=1 -H -s -Aof", "#SBATCH --job-name=a-o"]
    path.write_text(f"slurm: {{lines: {lines}}}\n")
    assert site.read(path).slurm.lines == lines


@pytest.mark.parametrize(
    ("time", "most", "ends"),
    [("0", 60, False), ("61", 60, False), ("60", 60, True), ("0", None, True), (None, 60, True)],
)
def test_a_time_that_no_partition_gives_is_refused(time, most, ends):
    share = Share(("short",), "", 1, None, most)
    with nullcontext() if ends else pytest.raises(EngineError, match="never start: partition short gives them 60"):
        refuse_endless(time, share)


@pytest.mark.parametrize(("name", "written"), [("a%j", "a%%j"), ("a b", "a b")])
def test_slurm_replaces_nothing_in_a_path(name, written, tmp_path):
    text = script(Wanted("a", ""), Slurm(), tmp_path / name, Inside(["true"]))
    assert f"--output={tmp_path}/{written}/output" in text


def test_a_path_that_slurm_changes_is_refused(tmp_path):
    with pytest.raises(EngineError, match="backslash, line break"):
        writable_by_slurm(tmp_path / "a\\b")
    with pytest.raises(EngineError, match="or no UTF-8"):
        writable_by_slurm(tmp_path / os.fsdecode(b"a\xff"))
    assert writable_by_slurm(tmp_path / "a: 'b', #c") == tmp_path / "a: 'b', #c"


@pytest.mark.parametrize("text", ["account: 'a b'", "lines: ['a\x07']", "memory: lots", "constraint: 'a;b'", "cpus: 0"])
def test_what_could_end_a_line_of_the_script_is_refused(text, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(f"slurm: {{{text}}}\n")
    with pytest.raises(MatrixError):
        site.read(path)


def test_without_slurm_it_says_where_to_type_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="no command 'sinfo'") as error:
        commands.version()
    assert "login node" in error.value.remedy


POLICY = "Job violates accounting/QOS policy (job submit limit, user s size and/or time limits)"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Invalid account specified", EngineError),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller", EngineGoneError),
        ("sbatch: error: AssocMaxSubmitJobLimit", FullError),
        ("sbatch: error: QOSGrpSubmitJobsLimit", FullError),
        (POLICY, EngineError),
        ("sbatch: error: Slurm backup controller in standby mode", EngineGoneError),
        ("sbatch: error: Rate limit exceeded, please retry later", EngineGoneError),
    ],
)  # fmt: skip
def test_what_may_work_later_is_told_from_what_never_will(said, kind, monkeypatch, tmp_path):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EngineError) as error:
        commands.submitted("#!/bin/sh\n")
    assert type(error.value) is kind
    assert said.rpartition(": ")[2] in error.value.what


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Invalid account or account/partition combination specified", "account"),
        ("invalid partition specified: nowhere", "partitions"),
        ("Invalid qos specification", "qos"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("Invalid generic resource (gres) specification", "gres"),
        ("Node count specification invalid", "lines"),
        (f"QOSMaxWallDurationPerJobLimit {POLICY}", "time"),
        (POLICY, "time, cpus and memory"),
        ("something new", ""),
    ],
)
def test_a_refusal_names_what_to_change_in_the_sites_file(said, key):
    remedy = commands.refusal("sbatch", f"sbatch: error: {said}", 1).remedy
    assert f"slurm: {key} " in remedy if key else remedy == ""


@pytest.mark.parametrize("reason", ["QOSMaxWallDurationPerJobLimit", "PartitionTimeLimit", "JobHeldUser"])
def test_what_is_queued_for_ever_has_a_remedy_and_what_waits_its_turn_has_none(reason):
    assert remedy_of_waiting(reason)
    assert not any(map(remedy_of_waiting, ("Priority", "Resources", "QOSMaxJobsPerAccountLimit", "None")))


def test_the_users_variables_change_no_command(monkeypatch, tmp_path):
    (tmp_path / "sinfo").write_text("#!/bin/sh\nenv\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    given = ("SBATCH_PARTITION", "SQUEUE_STATES", "SLURM_CLUSTERS", "SLURM_CONF")
    for name in given:
        monkeypatch.setenv(name, "x")
    names = {line.partition("=")[0] for line in commands.said_by("sinfo").splitlines()}
    assert names.intersection(given) == {"SLURM_CONF"}


def test_jobs_start_cells_by_what_needs_no_service():
    assert way(None).images.name == "apptainer"
    assert way("process").images.name == "process"
    with pytest.raises(EngineError, match="can't run cells with the engine docker"):
        way("docker")

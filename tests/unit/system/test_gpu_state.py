"""What a row says of a run from outside its cell. No GPU is at hand in CI, so NVML's answers are written out here."""

import json
import subprocess

import pynvml
import pytest

from orchestrator.cell.contract import Outcome, Status
from orchestrator.results.rows import surroundings_columns
from orchestrator.system.checkout import commit
from orchestrator.system.gpu_state import GpuState, energy, states

V100 = GpuState("GPU-1", 1380, 877, 41, 300.0, ("power cap", "thermal, by the driver"), 12_345.678)
ANSWERS = {
    "nvmlInit": None,
    "nvmlDeviceGetHandleByUUID": "handle",
    "nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_GRAPHICS: 1380, pynvml.NVML_CLOCK_MEM: 877},
    "nvmlDeviceGetTemperature": 41,
    "nvmlDeviceGetEnforcedPowerLimit": 300_000,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x1 | 0x4 | 0x20,
    "nvmlDeviceGetTotalEnergyConsumption": 12_345_678,
}


@pytest.fixture
def driver(monkeypatch):
    """NVML as it answers for a V100; a test takes away what an older card lacks."""

    def answer(name, given):
        def ask(*words):
            if isinstance(given, pynvml.NVMLError):
                raise given
            return given[words[1]] if isinstance(given, dict) else given

        monkeypatch.setattr(pynvml, name, ask)

    for name, given in ANSWERS.items():
        answer(name, given)
    return answer


def test_clocks_temperature_limit_and_what_slows_a_gpu_down_are_told(driver):
    assert states(["GPU-1"]) == (V100,)
    assert states([]) == ()


def test_what_an_older_card_does_not_tell_is_none(driver):
    driver("nvmlDeviceGetTotalEnergyConsumption", pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED))
    driver("nvmlDeviceGetTemperature", pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED))
    (state,) = states(["GPU-1"])
    assert (state.energy, state.temperature, state.graphics_clock) == (None, None, 1380)
    assert energy((state,), (V100,)) is None


def test_a_gpu_that_the_driver_does_not_know_has_no_state(driver):
    driver("nvmlDeviceGetHandleByUUID", pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND))
    assert states(["GPU-pretended-0"]) == ()


def test_energy_is_that_of_all_gpus_of_a_cell():
    after = GpuState("GPU-1", 300, 877, 60, 300.0, (), 13_345.678)
    assert energy((V100, V100), (after, after)) == pytest.approx(2000)
    assert energy((), ()) is None


def test_the_row_has_both_states_and_the_commit(monkeypatch):
    monkeypatch.setattr("orchestrator.results.rows.commit", lambda: ("c0ffee", True))
    row = surroundings_columns(Outcome(Status.OK, gpus_before=(V100,), gpus_after=(V100,)))
    assert json.loads(row["gpus_before"])[0]["throttled"] == ["power cap", "thermal, by the driver"]
    assert (row["commit"], row["dirty"], row["energy"]) == ("c0ffee", True, 0)
    bare = surroundings_columns(Outcome(Status.OK))
    assert (bare["gpus_before"], bare["gpus_after"], bare["energy"]) == (None, None, None)


def test_commit_and_changes_are_those_of_the_checkout(monkeypatch, tmp_path):
    def git(*words):
        person = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
        return subprocess.run(["git", "-C", tmp_path, *person, *words], check=True, capture_output=True, text=True)

    git("init")
    (tmp_path / "orchestrator").mkdir()
    (tmp_path / "orchestrator/errors.py").write_text("")
    git("add", ".")
    git("commit", "--message", "first")
    monkeypatch.setattr("orchestrator.system.checkout.ROOT", tmp_path)
    fresh = commit.__wrapped__
    assert fresh() == (git("rev-parse", "HEAD").stdout.strip(), False)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/merged.parquet").write_text("no source")
    assert fresh()[1] is False
    (tmp_path / "orchestrator/errors.py").write_text("changed")
    assert fresh()[1] is True
    monkeypatch.setattr("orchestrator.system.checkout.ROOT", tmp_path / "nowhere")
    assert fresh() is None

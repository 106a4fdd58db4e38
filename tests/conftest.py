"""What all tests share."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from tests.pretended_driver import hook, machines

# Two busy cores can be slow at any moment; and in CI, what failed once has to fail again.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

# What a developer has set for runs of their own must not change what the tests select.
for variable in ("ROSETTA_PROFILE", "ROSETTA_DATA_MIRROR"):
    os.environ.pop(variable, None)


HOOK = "nvidia-container-runtime-hook"


def pytest_make_parametrize_id(val, argname):
    """Name bytes by their parameter: an archive holds the time it was made, and all workers need the same names."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items):
    """Whoever pretends a machine does so for all containers of the engine."""
    for item in items:
        if "pretended_machine" in item.fixturenames:
            item.add_marker("alone")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn every skip into a failure where all that tests need is required to be there, as in CI."""
    report = yield
    if report.skipped and os.environ.get("ROSETTA_REQUIRE_ENGINE") == "1":
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped although ROSETTA_REQUIRE_ENGINE=1: {call.excinfo.value}"
    return report


@pytest.fixture
def pretended_machine():
    """Pretend NVIDIA's driver and the GPUs of a machine (tests/pretended_driver/machines.py) in new containers.

    By its name there, or as a description; another one replaces it. The engine needs the hook that .ci/engine installs.
    """
    if os.getuid() != 0:
        pytest.skip("only root can put a pretended driver where the engine's hook finds it")
    installed = shutil.which(HOOK)
    if not installed or Path(installed).read_bytes() != Path(hook.__file__).read_bytes():
        pytest.skip(f"{HOOK} is not this checkout's pretended driver: run .ci/engine as root")
    with ExitStack() as stack:

        def pretend(machine: str | machines.Machine) -> machines.Machine:
            told = machines.MACHINES[machine] if isinstance(machine, str) else machine
            stack.close()
            return stack.enter_context(machines.pretended(told))

        yield pretend

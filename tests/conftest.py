"""What all tests share."""

import os

import hypothesis
import pytest

# Two busy cores can be slow at any moment; and in CI, what failed once has to fail again.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

# What a developer has set for runs of their own must not change what the tests select.
for variable in ("ROSETTA_PROFILE", "ROSETTA_DATA_MIRROR"):
    os.environ.pop(variable, None)


NEEDY = {"container", "browser", "storage"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip into a failure where what the tests of ``NEEDY`` need is required, as in CI."""
    report = yield
    if NEEDY & set(item.keywords) and report.skipped and os.environ.get("ROSETTA_REQUIRE_ENGINE") == "1":
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped although ROSETTA_REQUIRE_ENGINE=1: {call.excinfo.value}"
    return report

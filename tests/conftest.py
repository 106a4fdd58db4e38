"""What all tests share."""

import os

import hypothesis

# Two busy cores can be slow at any moment; and in CI, what failed once has to fail again.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

# What a developer has set for runs of their own must not change what the tests select.
for variable in ("ROSETTA_PROFILE", "ROSETTA_DATA_MIRROR"):
    os.environ.pop(variable, None)

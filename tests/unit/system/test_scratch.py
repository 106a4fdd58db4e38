"""A temporary folder is removed, whatever a program has left in it."""

import os
import subprocess
import sys

import pytest

from orchestrator.system.scratch import scratch_folder

DEEP = f"""{sys.executable} -c 'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(1500)]'"""


@pytest.mark.parametrize(
    "script",
    [
        "mkdir -p a/b; touch a/b/c; chmod 0 a/b a",
        DEEP,
        'rm -rf "$PWD"',
        'rm -rf "$PWD"; ln -s / "$PWD"',
        'rm -rf "$PWD"; touch "$PWD"',
    ],
)
def test_nothing_stays_and_nothing_is_raised(script):
    with scratch_folder() as folder:
        subprocess.run(["sh", "-c", script], cwd=folder, check=False)
    assert not os.path.lexists(folder)


def test_what_can_not_be_removed_costs_nothing():
    with scratch_folder() as folder:
        (folder / "a").mkdir()
        done = subprocess.run(["chattr", "+i", folder / "a"], check=False, capture_output=True)
        if done.returncode:
            pytest.skip("only root may forbid removal here")
    subprocess.run(["chattr", "-i", folder / "a"], check=True)
    (folder / "a").rmdir()
    folder.rmdir()

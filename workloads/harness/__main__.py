"""Entry point of every image: ``python -m harness <library> <workload> …`` runs one cell."""

import json
import os
import runpy
import sys
import time

from harness import cores

cores.take()  # before NumPy, which the rest of the harness imports, counts its threads

from harness import arguments, arithmetic, cards, cell, document, kernels, workers  # noqa: E402


def take_identity_of_results_owner():
    """Become the owner of the results folder when a person starts the container as root.

    ``docker run -v $PWD/results:/results`` mounts a folder that belongs to the caller: what is written there shall be
    the caller's, and the framework shall not run as root. The orchestrator gives a user of its own instead.
    """
    owner = os.stat(document.results_folder())
    if os.getuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def main():
    """Run the script that the arguments name: as ``__main__``, or in place of this process by its interpreter."""
    parsed = arguments.parse(sys.argv[1:])
    take_identity_of_results_owner()
    arithmetic.prepare(parsed.precision)
    kernels.fill(parsed, arguments.read_params()[parsed.workload])
    if parsed.gpus and not workers.rank():
        os.environ[cards.FIRST_READING] = cards.first_reading(parsed.gpus)
        cell.STARTED = time.perf_counter()
    script = arguments.script_of(parsed.library, parsed.workload, parsed.variant)
    interpreter = arguments.INTERPRETERS[script.suffix]
    if interpreter is None:
        runpy.run_path(str(script), run_name="__main__")
    else:
        os.environ.update(ROSETTA_ARGUMENTS=json.dumps(sys.argv[1:]), ROSETTA_STARTED=repr(cell.STARTED))
        os.execvp(interpreter, [interpreter, str(script)])


main()

"""Start the command ``rosetta``: Ctrl-C ends it alike while its modules are still being loaded."""

import sys

from orchestrator.errors import INTERRUPTED
from orchestrator.system.signals import of_this_process


def start() -> None:
    """Load the command line and run it."""
    try:
        interruption = of_this_process()
        from orchestrator.cli.main import main

        interruption.ask()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    start()

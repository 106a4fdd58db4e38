"""Start the command ``rosetta``: Ctrl-C ends it alike while its modules are still being loaded."""

import sys


def start() -> None:
    """Load the command line and run it."""
    try:
        from orchestrator.system.signals import of_this_process

        interruption = of_this_process()
        from orchestrator.cli.main import main

        interruption.ask()
    except KeyboardInterrupt:
        from orchestrator.errors import INTERRUPTED

        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    start()

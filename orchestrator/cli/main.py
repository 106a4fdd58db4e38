"""The command ``rosetta``."""

import io
import os
import sys
from typing import Any, NoReturn

import click

from orchestrator.cli import (
    auditing,
    campaign,
    cells,
    compare,
    comparing,
    completion,
    data,
    doctor,
    images,
    pages,
    profiling,
    publishing,
    results,
    starting,
    sync,
)
from orchestrator.errors import INTERRUPTED, DiskError, RosettaError, StorageError
from orchestrator.system.signals import of_this_process
from orchestrator.system.terminal import echo, lost_output, plain
from orchestrator.system.text_files import FULL, ROOM, as_ours


class Rosetta(click.Group):
    """Prints our errors as three short sentences, without a traceback, and ends with their exit codes."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; turn a RosettaError or OSError into a message and an exit code."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a character that the locale lacks must not end the program
        try:
            of_this_process()  # before anything is asked or waited for
            see_the_folder()
            done = super().main(*args, **kwargs)
        except RosettaError as error:
            fail(error)
        except OSError as error:
            fail(as_ours(error))
        except SystemExit as end:
            if not end.code and (lost := lost_output()):
                fail(not_written(lost))
            raise
        return done

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click's messages about its arguments go through ``plain``, like all output.

        Ctrl-C ends every command in the same way, those that say more about it themselves excepted.
        """
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            interrupted()
        except click.ClickException as error:
            error.message = str(plain(error.message))  # type: ignore[misc]  # it has no other door
            raise
        except (RosettaError, OSError):
            raise
        except Exception:
            if not of_this_process().came:
                raise
            interrupted()


def interrupted() -> NoReturn:
    """Say that the command was interrupted, and end with the exit code for that."""
    echo("interrupted", err=True)
    sys.exit(INTERRUPTED)


def see_the_folder() -> None:
    """Raise StorageError if the current folder is gone: everything named without a path lies there."""
    try:
        os.getcwd()
    except OSError as error:
        raise as_ours(error, "the current folder", "Change to another folder ('cd').") from None


def not_written(error: OSError) -> RosettaError:
    """Return the error of output that was lost."""
    if error.errno in FULL:
        return DiskError("Output could not be written: the disk it goes to is full.", remedy=ROOM)
    return StorageError("Output could not be written.", f"{error.strerror or error}.", "Send it to another place.")


def fail(error: RosettaError) -> NoReturn:
    """Print an error and end with its exit code."""
    echo(str(error), err=True, lead=click.style("error: ", fg="red", bold=True, reset=True))
    lost_output()
    sys.exit(error.exit_code)


@click.group(cls=Rosetta, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="rosetta-matrix", prog_name="rosetta")
def main() -> None:
    """Deep-learning workloads in many libraries, measured in containers, from one matrix file.

    \b
    examples:
      rosetta init                         a matrix.yaml of your own to start from
      rosetta doctor                       what this machine has and what is missing
      rosetta plan --profile quick         what would run, and what can't and why
      rosetta run --profile quick          minutes, on built-in synthetic data
      rosetta data fetch                   CIFAR-10 and IMDB from their publishers
      rosetta run --only '*/rnn/cpu/*'     the published GRU in every library
      rosetta table                        the results so far
      rosetta report                       the same as pages, with charts and scripts side by side
      rosetta verify                       is this machine as fast as it should be?
      rosetta compare A B                  is B slower than A? alternates both until it knows
      rosetta profile pytorch/rnn/cpu      where a training step spends its time, with a trace
      rosetta campaign --dry-run           what an hour on a GPU would measure, and how long it takes
    """


for command in (
    starting.init,
    doctor.doctor,
    cells.plan,
    cells.build,
    cells.run,
    cells.parity,
    profiling.profile,
    results.status,
    results.merge,
    results.table,
    comparing.verify,
    comparing.diff,
    compare.compare,
    campaign.campaign,
    auditing.audit,
    pages.report,
    pages.notebook,
    images.lock,
    images.schema,
    data.data,
    sync.sync,
    publishing.publish,
    publishing.reproduce,
    images.images,
    completion.completion,
):
    main.add_command(command)

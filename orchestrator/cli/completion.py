"""Shell completion of cells, profiles and libraries, and the script that enables it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.kinds import Choice
from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.errors import RosettaError
from orchestrator.system.terminal import echo

VARIABLE = "_ROSETTA_COMPLETE"
"""The variable by which the shell asks the program for words, named as click does."""

SHELLS = ("bash", "zsh", "fish")


Given = Mapping[str, Any]
"""The other values on the command line, by option name."""

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(words: Callable[[Given], Iterable[str]]) -> Complete:
    """Make a click completion function from a source of words: it returns those that begin as typed.

    It returns none if a file can't be read: a shell that waits for words is no place for errors.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        try:
            take_in_libraries([Path(folder) for folder in ctx.params.get("own") or ()])
            return sorted({word for word in words(ctx.params) if word.startswith(incomplete)})
        except (RosettaError, OSError):
            return []

    return complete


def cells(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the profile's cells up to the next slash, as a shell completes paths."""
    depth = incomplete.count("/")
    return [word for word in completing(parts_of_cells)(ctx, param, incomplete) if word.count("/") == depth]


def parts_of_cells(given: Given) -> Iterator[str]:
    """Yield the ids of the profile's cells, and all their prefixes up to a slash."""
    from orchestrator.plan.combinations import cells_of_file
    from orchestrator.plan.selection import known_words

    path = matrix_path(given.get("matrix_file"))
    for cell in cells_of_file(path, given.get("profile") or "full", known_words(), {}, lambda: ()):
        parts = cell.id.split("/")
        yield from ("/".join(parts[:count]) for count in range(1, len(parts) + 1))


@completing
def profiles(given: Given) -> Iterable[str]:
    """The profiles of the matrix file."""
    from orchestrator.plan.matrix import read

    return read(matrix_path(given.get("matrix_file")))[0].profiles


@completing
def libraries(given: Given) -> Iterable[str]:
    """The libraries that images/ defines."""
    from orchestrator.images.definitions import library_index

    return library_index()


@completing
def frameworks(given: Given) -> Iterable[str]:
    """The frameworks that images/ defines; a framework's image may have several libraries."""
    from orchestrator.images.definitions import library_index

    return {framework.framework for framework in library_index().values()}


@completing
def workloads(given: Given) -> Iterable[str]:
    """The workloads that have parameters."""
    from orchestrator.cell.parameters import parameters

    return parameters()


@click.command()
@click.argument("shell", type=Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script with which the shell completes commands, options, cells, profiles and libraries.

    \b
    examples:
      eval "$(rosetta completion bash)"       for this shell; in ~/.bashrc for all
      eval "$(rosetta completion zsh)"        the same, in ~/.zshrc after compinit
      rosetta completion fish > ~/.config/fish/completions/rosetta.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    echo(kind(ctx.find_root().command, {}, "rosetta", VARIABLE).source())

"""Options that exclude or need each other: no option is silently ignored."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

Command = Callable[..., Any]


def apart(*names: str) -> Callable[[Command], Command]:
    """Refuse more than one of these parameters of a command on one command line."""

    def check(ctx: click.Context) -> None:
        there = typed(ctx, names)
        if len(there) > 1:
            raise click.UsageError(f"{there[0]} and {there[1]} can't be used together.", ctx)

    return checked(check)


def never_with(name: str, *others: str) -> Callable[[Command], Command]:
    """Refuse one parameter of a command beside any of the others, which may go together."""

    def check(ctx: click.Context) -> None:
        one, there = typed(ctx, (name,)), typed(ctx, others)
        if one and there:
            raise click.UsageError(f"{one[0]} and {there[0]} can't be used together.", ctx)

    return checked(check)


def only_with(needed: str, *names: str) -> Callable[[Command], Command]:
    """Refuse these parameters of a command on a command line without the one that they belong to."""

    def check(ctx: click.Context) -> None:
        there = typed(ctx, names)
        if there and not ctx.params.get(needed):
            raise click.UsageError(f"{there[0]} has no effect without {spelt(ctx, needed)}.", ctx)

    return checked(check)


def checked(check: Callable[[click.Context], None]) -> Callable[[Command], Command]:
    """Make a decorator of a check that a command begins with."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_check(*args: Any, **given: Any) -> Any:
            check(click.get_current_context())
            return command(*args, **given)

        return with_check

    return decorate


def typed(ctx: click.Context, names: Sequence[str]) -> list[str]:
    """Return those of some parameters that were typed, as they are spelt."""
    return [spelt(ctx, name) for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def spelt(ctx: click.Context, name: str) -> str:
    """Return a parameter as it is spelt on the command line: ``--json``, ``FILE``."""
    found = next(each for each in ctx.command.params if each.name == name)
    return max(found.opts, key=len) if isinstance(found, click.Option) else found.make_metavar(ctx).strip("[].")

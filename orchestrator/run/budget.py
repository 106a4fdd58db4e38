"""What of a campaign fits into the available time: what comes last is left out first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.plan.campaign import Part
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.run.estimates import Estimate

Of = Callable[[Planned], Estimate]
"""Returns how long a cell will take."""


@dataclass(frozen=True)
class Fitted:
    """The cells of a step that fit into the time, in order, and those left out; ``seconds`` is what it will take."""

    part: Part
    chosen: Sequence[Planned]
    left_out: Sequence[Planned]
    seconds: float
    fits: bool = True


def fitted(parts: Sequence[Part], budget: float, of: Of, others: Callable[[Part], float]) -> list[Fitted]:
    """Return what of each step fits into ``budget`` seconds. Once something does not, nothing that comes later does.

    Within a step it is round by round, in each the shortest first. What is done costs nothing. ``others`` tells the
    seconds of a step that runs no cells.
    """
    left, full, found = budget, False, []
    for part in parts:
        if not part.step.workloads:
            seconds = others(part)
            full = full or seconds > left
            found.append(Fitted(part, (), (), seconds, not full))
            left -= 0 if full else seconds
            continue
        chosen: list[Planned] = []
        left_out: list[Planned] = []
        taken = 0.0
        for one in in_order(part.planned, of):
            seconds = 0.0 if one.verdict is Verdict.DONE else of(one).seconds
            full = full or seconds > left
            if full and seconds:
                left_out.append(one)
                continue
            chosen.append(one)
            left, taken = left - seconds, taken + seconds
        found.append(Fitted(part, chosen, left_out, taken, not left_out))
    return found


def in_order(planned: Sequence[Planned], of: Of) -> list[Planned]:
    """Sort cells round by round, in each the shortest first."""
    return sorted(planned, key=lambda one: (one.cell.repeat, of(one).seconds))

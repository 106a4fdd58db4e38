"""What was found in an installation that is not ours, for a person."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.images.definitions import library_index
from orchestrator.images.installation import Facts, Installed
from orchestrator.plan.own import Found
from orchestrator.system.terminal import one_line


def lines(
    label: str, installed: Installed, facts: Mapping[str, Facts], found: Sequence[Found], cards: int
) -> Iterator[str]:
    """The interpreter, a line or two for each module, and which scripts fit; ``cards`` are this machine's GPUs."""
    packages = f"{len(installed.packages)} packages"
    yield one_line(f"{label}: Python {installed.python}, {installed.executable}, {packages}")
    for module, said in facts.items():
        if said.error:
            yield "  " + one_line(f"{module} can't be imported: {said.error}")
        else:
            yield "  " + one_line(f"{module} {said.version}: {', '.join(built(said, cards))}; from {said.file}")
    set_by_user = [f"{name}={value}" for name, value in installed.variables.items()]
    if set_by_user:
        yield "  " + one_line(f"variables: {' '.join(set_by_user)}"[:400])
    titles = {name: framework.libraries[name].title for name, framework in library_index().items()}
    for entry in found:
        name = titles.get(entry.line.library, entry.line.library)
        if not entry.reason:
            script = f"workloads/*/{entry.line.library.replace('-', '_')}.py"
            yield "  " + one_line(f"measured: {name} {entry.version}, by {script}")
        elif not entry.facts.error:
            yield "  " + one_line(f"not measured: {name}: {entry.reason}")


def built(facts: Facts, cards: int) -> Iterator[str]:
    """Yield how a module was built and what it would compute with."""
    if facts.cuda:
        yield f"CUDA {facts.cuda}"
        yield f"cuDNN {facts.cudnn}" if facts.cudnn else "no cuDNN"
        yield f"{facts.device}" if facts.device else f"sees {facts.cards or 'no'} GPU"
        if cards and not facts.cards and facts.no_card_because:
            yield facts.no_card_because
    elif facts.cards is not None or facts.threads is not None:
        yield "a build for CPUs"
    if facts.onednn is not None:
        yield "oneDNN" if facts.onednn else "no oneDNN"
    if facts.blas:
        yield f"BLAS {facts.blas}"
    if facts.threads is not None:
        yield f"{facts.threads} thread{'s' if facts.threads != 1 else ''}"
    yield from facts.switches

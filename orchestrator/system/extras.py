"""Optional parts of this program: which packages each needs, and how to install them."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from orchestrator.errors import MissingPartError

EXTRAS: Mapping[str, Sequence[str]] = {
    "azure": ("azure.core", "azure.identity", "azure.storage.blob"),
    "ray": ("ray",),
    "report": ("altair", "jupytext", "nbformat", "pygments", "vl_convert"),
}
"""By the extras of pyproject.toml, the modules that come with them."""


def need(extra: str) -> None:
    """Raise MissingPartError, which says how to install it, unless everything of an extra is there."""
    missing = [module for module in EXTRAS[extra] if not is_there(module)]
    if missing:
        why = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed."
        remedy = f"Install them: pip install 'rosetta-matrix[{extra}]'."
        raise MissingPartError(f"This needs the optional part '{extra}'.", why, remedy)


def is_there(module: str) -> bool:
    """Whether a module can be imported; it is not, since that may take long."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False

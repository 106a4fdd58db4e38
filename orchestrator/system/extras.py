"""Optional parts of this program: which packages each needs, and how to install them."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from orchestrator.errors import MissingPartError

EXTRAS: Mapping[str, Sequence[str]] = {
    "azure": ("azure.core", "azure.identity", "azure.storage.blob"),
    "ray": ("ray",),
    "report": ("altair", "jupytext", "nbformat", "pygments", "vl_convert"),
}
"""The modules that come with each extra of pyproject.toml."""


def need(extra: str) -> None:
    """Raise MissingPartError, which says how to install it, unless an extra is completely installed."""
    missing = [module for module in EXTRAS[extra] if not is_there(module)]
    if missing:
        why = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed."
        remedy = f"Install them: pip install 'rosetta-matrix[{extra}]'."
        raise MissingPartError(f"This needs the optional part '{extra}'.", why, remedy)


def is_there(module: str) -> bool:
    """Return whether a module can be imported, without importing it, which may take long."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # for a missing parent package
        return False

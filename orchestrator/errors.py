"""One class and one exit code per kind of failure; every message says what failed, why, and what to do."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class RosettaError(Exception):
    """A failure the user can act on.

    ``what`` failed, ``why`` as far as known, and the ``remedy``: three short sentences, printed without a traceback.
    ``passing`` is what may be gone when tried again, as no failure is that comes from what was asked for.
    """

    exit_code = 1
    passing = False

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.remedy = what, why, remedy

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.remedy) if part)


class MatrixError(RosettaError):
    """matrix.yaml can't be read, or holds an unknown key or value."""

    exit_code = 3


class SelectionError(RosettaError):
    """The selectors leave no cell."""

    exit_code = 4


class EngineError(RosettaError):
    """No engine, one too old, or no permission to use it."""

    exit_code = 5


class EngineGoneError(EngineError):
    """The engine that was there does not answer any more."""

    passing = True


class BuildError(RosettaError):
    """An image or environment could not be built."""

    exit_code = 6


class UnreachableError(BuildError):
    """What a build needs is out of reach: a registry, an index, the network."""

    passing = True


class DataError(RosettaError):
    """A data set is missing, could not be fetched, or is not what its publisher made."""

    exit_code = 7


class ResultError(RosettaError):
    """A result is missing, truncated, oversized, or of an unknown version."""

    exit_code = 8


class CellsFailed(RosettaError):
    """The run ended, but some of its cells did not end ok."""

    exit_code = 9


class DiskError(RosettaError):
    """Not enough room on a disk."""

    exit_code = 10


class GpuError(RosettaError):
    """A GPU was asked for and can't be used."""

    exit_code = 11


class SlowerError(RosettaError):
    """A comparison of results found cells that are slower than they should be, or failed."""

    exit_code = 12


class StorageError(RosettaError):
    """Where results or data are kept can't be reached, or refuses what is asked of it."""

    exit_code = 13


class ConflictError(RosettaError):
    """Files of the same name differ on both sides, or are none of those that belong there; all are kept."""

    exit_code = 14


class AddressError(RosettaError):
    """Pages can't be served at an address."""

    exit_code = 15


class RegistryError(RosettaError):
    """A registry of images can't be reached, or refuses what is asked of it."""

    exit_code = 16


class RefusedError(RegistryError):
    """A registry does not let this login do it, or see whether what was asked for is there."""


class MissingPartError(RosettaError):
    """An optional part of this program is not installed."""

    exit_code = 18


class DiffersError(RosettaError):
    """What was run again is not as good as published, or could not be run."""

    exit_code = 17


class MovedError(RosettaError):
    """What the locks name is not there any more as it was: a package, or a base image."""

    exit_code = 21


class LackingError(RosettaError):
    """What a run needs is lacking on this machine."""

    exit_code = 19


class DeclinedError(RosettaError):
    """Nobody agreed to run programs of somebody else."""

    exit_code = 20


class InstallationError(RosettaError):
    """An interpreter or image of the user's own can't be asked what is installed, or has nothing to be measured."""

    exit_code = 22

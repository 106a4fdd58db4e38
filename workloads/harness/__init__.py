"""What every workload script shares: arguments, data, clocks and the result document.

Runs inside the cells, on Python 3.6 or newer with NumPy alone. What asks the driver (``nvml``, ``visible_gpus``) runs
without NumPy too, so the package itself must not import it.
"""

import sys
import types


class Harness(types.ModuleType):
    """The package itself, which imports Cell and Weights when they are first used; Python 3.6 knows no other way."""

    @property
    def Cell(self):
        """The frame around a workload script."""
        from harness.cell import Cell

        return Cell

    @property
    def Weights(self):
        """How weights are put into a model and taken out."""
        from harness.weights import Weights

        return Weights


sys.modules[__name__].__class__ = Harness

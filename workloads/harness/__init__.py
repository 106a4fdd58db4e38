"""What every workload script shares: arguments, data, clocks and the result document.

Runs inside the cells, on Python 3.6 or newer with NumPy alone.
"""

from harness.cell import Cell
from harness.weights import Weights

__all__ = ["Cell", "Weights"]

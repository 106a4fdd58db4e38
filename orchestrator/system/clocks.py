"""The current load of this machine and the clock rates of its cores."""

import os
import re
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
RATE = re.compile(r"(?m)^cpu MHz\s*:\s*(\d+(?:\.\d+)?)$")


def state(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Return the last minute's load per core, and the clock of each core in MHz if the kernel reports it."""
    try:
        told = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        told = ""
    return {"load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2), "mhz": list(map(float, RATE.findall(told)))}

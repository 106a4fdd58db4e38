"""``python -m harness.visible_gpus`` prints what NVIDIA's driver shows here, as one JSON object.

``driver`` is its version, ``cuda`` the newest CUDA that it runs ([major, minor] or null), ``gpus`` a list with what
``nvml.Device`` tells of each now, ``unreadable`` a list of {"index", "reason"} of those that it can't tell of. Without
a driver ``driver`` is null, ``gpus`` is empty, and ``reason`` says why. ``architecture`` is the processor's: x86_64.
"""

import json
import os

from harness.nvml import Nvml, NvmlError


def visible():
    """The object that is printed."""
    try:
        nvml = Nvml()
        gpus = [reading(device) for device in nvml.devices()]
        told = {"driver": nvml.driver(), "cuda": nvml.cuda(), "gpus": gpus, "unreadable": nvml.unreadable}
    except NvmlError as error:
        told = {"driver": None, "cuda": None, "gpus": [], "reason": str(error)}
    return dict(told, architecture=os.uname().machine)


def reading(device):
    """All that is told of a device; ``memory_used`` in bytes, ``energy`` in joules."""
    now = {"memory_used": device.memory_used(), "processes": device.processes(), "energy": device.energy()}
    place = {"index": device.index, "parent": device.parent and device.parent.uuid}
    return dict(device.facts(), **dict(place, **dict(now, **device.state())))


if __name__ == "__main__":
    print(json.dumps(visible(), indent=1, sort_keys=True))

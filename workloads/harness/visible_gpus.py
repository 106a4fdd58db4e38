"""``python -m harness.visible_gpus`` prints what NVIDIA's driver shows here, as one JSON object.

``driver`` is its version, ``cuda`` the newest CUDA that it runs ([major, minor] or null), ``gpus`` a list with what
``nvml.Device`` tells of each now. Without a driver ``driver`` is null, ``gpus`` is empty, and ``reason`` says why.
"""

import json

from harness.nvml import Nvml, NvmlError


def visible():
    """The object that is printed."""
    try:
        nvml = Nvml()
        return {"driver": nvml.driver(), "cuda": nvml.cuda(), "gpus": [reading(device) for device in nvml.devices()]}
    except NvmlError as error:
        return {"driver": None, "cuda": None, "gpus": [], "reason": str(error)}


def reading(device):
    """All that is told of a device; ``memory_used`` in bytes, ``energy`` in joules."""
    now = {"memory_used": device.memory_used(), "processes": device.processes(), "energy": device.energy()}
    return dict(device.facts(), parent=device.parent and device.parent.uuid, **dict(now, **device.state()))


if __name__ == "__main__":
    print(json.dumps(visible(), indent=1, sort_keys=True))

"""Machines to pretend, as NVIDIA's driver would tell them, and how one is put where the hook finds it.

Names are NVIDIA's drivers', compute capabilities those of its page CUDA GPUs; memory is the size on the data sheet, of
which a real driver keeps a little. Clocks are of the right order; a driver's version belongs to the time of its card.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.pretended_driver import hook

SOURCE = Path(__file__).with_name("nvml.c")
GIB = 2**30
Machine = dict[str, Any]

CARDS: Mapping[str, tuple[str, tuple[int, int], float, int, tuple[int, int], int]] = {
    # short name: the driver's name, compute capability, GiB, watts, MHz of graphics and memory, energy counter in mJ
    "k80": ("Tesla K80", (3, 7), 12, 149, (562, 2505), 0),
    "gtx-1080-ti": ("GeForce GTX 1080 Ti", (6, 1), 11, 250, (1481, 5505), 0),
    "p100": ("Tesla P100-PCIE-16GB", (6, 0), 16, 250, (1189, 715), 0),
    "v100": ("Tesla V100-SXM2-16GB", (7, 0), 16, 300, (1312, 877), 10**9),
    "t4": ("Tesla T4", (7, 5), 16, 70, (585, 5001), 10**9),
    "rtx-2080-ti": ("NVIDIA GeForce RTX 2080 Ti", (7, 5), 11, 250, (1350, 7000), 10**9),
    "a100": ("NVIDIA A100 80GB PCIe", (8, 0), 80, 300, (1065, 1512), 10**9),
    "a100-40gb": ("NVIDIA A100-SXM4-40GB", (8, 0), 40, 400, (1095, 1215), 10**9),
    "a10g": ("NVIDIA A10G", (8, 6), 24, 300, (1320, 6251), 10**9),
    "rtx-3090": ("NVIDIA GeForce RTX 3090", (8, 6), 24, 350, (1395, 9751), 10**9),
    "rtx-4090": ("NVIDIA GeForce RTX 4090", (8, 9), 24, 450, (2235, 10501), 10**9),
    "l40s": ("NVIDIA L40S", (8, 9), 48, 350, (1110, 9001), 10**9),
    "h100": ("NVIDIA H100 80GB HBM3", (9, 0), 80, 700, (1980, 2619), 10**9),
    "gh200": ("NVIDIA GH200 480GB", (9, 0), 96, 900, (1980, 2619), 10**9),
    "b200": ("NVIDIA B200", (10, 0), 180, 1000, (1965, 3996), 10**9),
}
WITH_MIG = ("a100", "a100-40gb", "h100", "gh200", "b200")


def gpu(card: str, number: int = 0, **changes: Any) -> Machine:
    """A card of the table as a GPU of a machine; ``changes`` replace or add facts, None takes one away."""
    name, capability, gib, watts, clocks, energy = CARDS[card]
    told = {
        "name": name, "uuid": f"GPU-pretended-{card}-{number}", "capability": capability, "memory": int(gib * GIB),
        "power_limit": 1000 * watts, "graphics_clock": clocks[0], "memory_clock": clocks[1], "temperature": 40 + number,
        "throttle": 0, "energy": energy or None, "mig": 0 if card in WITH_MIG else None,
    }  # fmt: skip
    return {**told, **changes}


def sliced(card: str, profiles: Sequence[str], number: int = 0, **changes: Any) -> Machine:
    """A card that MIG divides into slices of these profiles, say ``3g.20gb``."""
    whole = gpu(card, number, mig=1, **changes)
    slices = [
        {
            "name": f"{whole['name']} MIG {profile}",
            "uuid": f"MIG-pretended-{card}-{number}-{place}",
            "memory": int(profile.partition(".")[2].removesuffix("gb")) * GIB,
        }
        for place, profile in enumerate(profiles)
    ]
    return {**whole, "slices": slices}


def machine(driver: str, cuda: str, *gpus: Machine, **changes: Any) -> Machine:
    """A machine; ``cuda`` is the newest CUDA that its driver runs."""
    major, minor = map(int, cuda.split("."))
    return {"driver": driver, "cuda": 1000 * major + 10 * minor, "gpus": list(gpus), **changes}


STRANGERS = [{"pid": 4242, "memory": 3 * GIB}, {"pid": 4343, "memory": 512 * 2**20}]

MACHINES: Mapping[str, Machine] = {
    "k80": machine("375.26", "8.0", gpu("k80"), gpu("k80", 1)),
    "gtx-1080-ti": machine("384.81", "9.0", gpu("gtx-1080-ti")),
    "p100": machine("396.37", "9.2", gpu("p100")),
    "v100": machine("418.87", "10.1", *(gpu("v100", number) for number in range(4))),
    "t4": machine("450.80.02", "11.0", gpu("t4")),
    "rtx-2080-ti": machine("470.57.02", "11.4", gpu("rtx-2080-ti")),
    "a100": machine("525.60.13", "12.0", gpu("a100"), gpu("a100", 1)),
    "a100-slices": machine("535.104.05", "12.2", sliced("a100-40gb", ["3g.20gb", "2g.10gb", "1g.5gb"])),
    "a10g": machine("535.104.05", "12.2", gpu("a10g")),
    "rtx-3090": machine("550.54.14", "12.4", gpu("rtx-3090")),
    "rtx-4090": machine("560.35.03", "12.6", gpu("rtx-4090")),
    "l40s": machine("570.86.15", "12.8", gpu("l40s")),
    "h100": machine("580.65.06", "13.0", gpu("h100")),
    "gh200": machine("580.65.06", "13.0", gpu("gh200")),
    "b200": machine("580.65.06", "13.0", gpu("b200")),
    "mixed": machine("580.65.06", "13.0", gpu("rtx-4090"), gpu("rtx-2080-ti", 1)),
    "busy": machine("535.104.05", "12.2", gpu("a10g", processes=STRANGERS)),
    "throttled": machine("535.104.05", "12.2", gpu("a10g", temperature=92, throttle=0x1 | 0x4 | 0x40)),
    "hidden-processes": machine("580.65.06", "13.0", gpu("h100"), hidden_processes=1),
}
"""Ready-made: a GPU or several of each kind, and machines with something about them."""


def build_library(driver: str, folder: Path) -> Path:
    """The library of a driver of this version, with the functions that it had."""
    library = folder / hook.LIBRARY
    made = folder / f"{hook.LIBRARY}.{os.getpid()}"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-DDRIVER={driver.partition('.')[0]}"]
    subprocess.run([*command, "-o", made, SOURCE], check=True)
    made.replace(library)
    return library


def hook_of(folder: str) -> str:
    """The text of a hook that looks for machines in another folder, so that an engine has machines of its own."""
    return Path(hook.__file__).read_text().replace(f'FOLDER = "{hook.FOLDER}"', f'FOLDER = "{folder}"')


@contextmanager
def pretended(told: Machine, folder: Path = Path(hook.FOLDER)) -> Iterator[Machine]:
    """The machine of this host's engine until the end, one at a time; waits for whoever else pretends one.

    Another engine has one of its own, by a hook with another ``folder``.
    """
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        partial, path = folder / ".machine.json", folder / "machine.json"
        try:
            build_library(told["driver"], folder)
            partial.write_text(json.dumps(told))
            partial.replace(path)
            yield told
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def list_devices(told: Machine, lists: Path, names: Sequence[str] = ()) -> Machine:
    """Write the list by which an engine without a hook knows a machine's GPUs (Container Device Interface 0.6).

    Each GPU is a device by its UUID, and "all" is all of them, as in the lists that NVIDIA's nvidia-ctk writes; or the
    devices have these ``names``.
    """
    lists.mkdir(exist_ok=True)
    library = build_library(told["driver"], lists)
    place = f"/usr/lib/{platform.machine()}-linux-gnu/{hook.LIBRARY}"
    devices = []
    for name in names or ("all", *(card["uuid"] for card in told["gpus"])):
        seen = lists / f"{name}.machine"
        seen.write_text(hook.described(told, name) or "")
        devices.append({"name": name, "containerEdits": {"mounts": [mount(seen, f"/{hook.MACHINE}")]}})
    found = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices}
    text = json.dumps({**found, "containerEdits": {"mounts": [mount(library, place)]}})
    (lists / "nvidia.json").write_text(text)
    return told


def mount(path: Path, place: str) -> Machine:
    """A file of the host at a place in the container, to be read only."""
    return {"hostPath": str(path), "containerPath": place, "options": ["ro", "bind"]}

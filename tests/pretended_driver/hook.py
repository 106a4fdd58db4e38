#!/usr/bin/env python3
"""Stands in for NVIDIA's container hook: puts a pretended driver into a container that asked for GPUs.

The engine runs it on the host before the container's first process, with the container's state (OCI) on standard
input. A folder at a fixed place has the machine to pretend, ``machine.json``, and the driver's library. Without that
file nothing is done, and a container gets what it asked for in name only.
"""

import json
import os
import platform
import shutil
import sys

FOLDER = "/run/rosetta-pretended-driver"
LIBRARY = "libnvidia-ml.so.1"
MACHINE = "etc/rosetta-pretended-gpus"  # where the library looks, below the container's root
NOTHING = ("", "void")  # of NVIDIA_VISIBLE_DEVICES: not even the driver


def main():
    """Do it for the container on standard input."""
    machine = os.path.join(FOLDER, "machine.json")
    if sys.argv[1:] != ["prestart"] or not os.path.exists(machine):
        return
    bundle = json.load(sys.stdin)["bundle"]
    with open(os.path.join(bundle, "config.json")) as file:
        config = json.load(file)
    variables = dict(line.split("=", 1) for line in config["process"]["env"] if "=" in line)
    with open(machine) as file:
        text = described(json.load(file), variables.get("NVIDIA_VISIBLE_DEVICES", ""))
    if text is None:
        return
    root = os.path.join(bundle, config["root"]["path"])  # an absolute path stays as it is
    libraries = os.path.join(root, "usr", "lib", platform.machine() + "-linux-gnu")
    os.makedirs(libraries, exist_ok=True)
    shutil.copy(os.path.join(FOLDER, LIBRARY), libraries)
    with open(os.path.join(root, MACHINE), "w") as file:
        file.write(text)


def described(machine, wanted="all"):
    """A machine as text for nvml.c, with the devices that NVIDIA_VISIBLE_DEVICES names; None if it is none of them.

    That is "all", "none" (the driver alone), "void", or indexes and UUIDs of GPUs and slices, "0:1" for a slice too.
    """
    if wanted in NOTHING:
        return None
    names = set(wanted.split(","))
    gpus = [seen for index, gpu in enumerate(machine["gpus"]) for seen in [visible(gpu, index, names)] if seen]
    if not gpus and wanted not in ("all", "none"):
        return None
    lines = facts(machine, ("driver", "cuda", "hidden_processes"))
    for gpu in gpus:
        lines += device("gpu", gpu)
        for part in gpu.get("slices", ()):
            lines += device("slice", part)
    return "\n".join(lines) + "\n"


def visible(gpu, index, names):
    """A GPU with those of its slices that are named; None if it is not named at all."""
    if names & {"all", str(index), gpu["uuid"]}:
        return gpu
    slices = [part for place, part in enumerate(gpu.get("slices", ())) if names & {part["uuid"], f"{index}:{place}"}]
    return dict(gpu, slices=slices) if slices else None


def device(kind, told):
    """The lines of a GPU or slice."""
    numbers = ("mig", "memory", "power_limit", "graphics_clock", "memory_clock", "temperature", "throttle", "energy")
    lines = [f"{kind} {told['name']}", *facts(told, ("uuid", *numbers))]
    if "capability" in told:
        lines.append("capability {} {}".format(*told["capability"]))
    return lines + [f"process {one['pid']} {one['memory']}" for one in told.get("processes", ())]


def facts(told, names):
    """A line for each fact that there is."""
    return [f"{name} {told[name]}" for name in names if told.get(name) is not None]


if __name__ == "__main__":
    main()

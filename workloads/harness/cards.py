"""The GPUs that a cell was given: what they are, who else is on them, and the proof that the cell used them.

A framework that can't use a GPU may fall back to the CPU without a word. So the cards are read before any framework is
imported, and again after the first step: a process that computes on a card holds memory there.
"""

import json
import os
import re
import time
from collections import Counter
from contextlib import contextmanager

from harness import workers
from harness.nvml import Nvml, NvmlError

FIRST_READING = "ROSETTA_GPUS_AT_START"

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Has CUDA number the cards as NVML does, not the fastest first."""

NUMBER = re.compile(r"\+?0*([0-9]{1,9})(?![0-9])")
"""A number as CUDA reads it: whatever follows the digits is passed over."""

LEAST_GROWTH = 32 * 2**20
"""Bytes by which a card's used memory grows at least when a process begins to compute there.

A CUDA context alone takes more, before any array: in the order of 60 MB on a K80, hundreds of MB on newer cards. NVML,
which does without a context, and the driver's bookkeeping move it by a few MB.
"""


def first_reading(wanted):
    """What the entry point reads before it runs a script, as text for FIRST_READING; from then on numbers are NVML's.

    Ends the cell if there is no driver, or if fewer GPUs are visible than the cell is to use.
    """
    os.environ.update(ORDER)
    try:
        nvml = Nvml()
        devices = usable(nvml)
    except NvmlError as error:
        raise SystemExit("the cell is to use %s, but %s" % (counted(wanted), error)) from None
    if len(devices) < wanted:
        lost = "".join("; GPU %(index)d can't be read: %(reason)s" % each for each in nvml.unreadable)
        shown = counted(len(devices))
        raise SystemExit("the cell is to use %s, but the driver shows %s%s" % (counted(wanted), shown, lost))
    return json.dumps({device.uuid: reading(device) for device in devices})


def of_cell(wanted):
    """The cards of a cell that is to use so many; one without any, or not its first worker, has nothing to read."""
    return Cards(wanted) if wanted and not workers.rank() else NoCards()


def usable(nvml):
    """The devices on which the cell can compute: slices in place of a GPU that is divided, and of those CUDA's own.

    Where no container hides them, the driver shows all cards of the machine, and what others begin on theirs would pass
    for a use by this cell.
    """
    devices, told = nvml.devices(), os.environ.get(VISIBLE)
    return visible(devices, told) if told is not None else [device for device in devices if device.mig != "divided"]


def visible(devices, told):
    """Those of the devices that CUDA shows a program, in its order: by UUID, the beginning of one, or number.

    As in CUDA, the list ends where it names nothing or goes from numbers to UUIDs, and shows nothing if it names a GPU
    twice. Numbers are by place on the bus, as NVML's are. Of slices a program sees the first, and no whole GPU beside
    it.
    """
    names = [name.strip(" \t\n\v\f\r") for name in told.split(",")]
    named = []
    for name in names:
        found = called(name, devices) if bool(NUMBER.match(name)) == bool(NUMBER.match(names[0])) else []
        if len(found) != 1:
            break
        named += found
    if len(set(named)) < len(named):
        return []
    slices = [part for device in named for part in devices if part.mig == "slice" and device in (part, part.parent)]
    return slices[:1] or [device for device in named if device.mig != "divided"]


def called(name, devices):
    """The devices that one name stands for."""
    number = NUMBER.match(name)
    if number:
        return [device for device in devices if not device.parent][int(number.group(1)) :][:1]
    return [device for device in devices if name[:4] in ("GPU-", "MIG-") and device.is_called(name)]


def reading(device):
    """What changes while a cell runs: bytes, processes, joules, and ``state`` of ``nvml.Device``."""
    return {
        "memory_used": device.memory_used(),
        "processes": device.processes(),
        "energy": device.energy(),
        "state": device.state(),
    }


def counted(number):
    """How many GPUs, in words."""
    return "%d GPU%s" % (number, "" if number == 1 else "s")


class NoCards:
    """What a cell on a CPU has in place of cards."""

    seconds = 0.0
    named = None

    def after_first_step(self):
        """Nothing is to be proved."""

    def after_epoch(self, number, epochs):
        """Nothing is to be read."""

    def report(self):
        """Nothing for the document."""
        return {}


class Cards:
    """The visible GPUs, of which a cell is to use ``wanted``; ``seconds`` is the time that it took to read them."""

    def __init__(self, wanted):
        self.wanted, self.seconds = wanted, 0.0
        first = os.environ.get(FIRST_READING) or first_reading(wanted)  # the latter in a notebook, which has no start
        self.first = json.loads(first)
        self.nvml = Nvml()
        there = [device for device in usable(self.nvml) if device.uuid in self.first]
        self.cards = [Card(device, self.first[device.uuid]) for device in there]
        self.proved = False

    @contextmanager
    def _aside(self):
        """Count the time, so that no clock of the cell has it."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    @property
    def named(self):
        """Name, UUID and driver of each card, for the document's ``environment``."""
        driver = self.nvml.driver()
        return [{"name": card.device.name, "uuid": card.device.uuid, "driver": driver} for card in self.cards]

    def after_first_step(self):
        """End the cell with a message if it does not use as many cards as it is to; from then on keep those it uses."""
        if self.proved:
            return
        with self._aside():
            for card in self.cards:
                card.compare()
            used = [card for card in self.cards if card.used is not False]
            if len(used) < self.wanted:
                raise SystemExit(refusal(self.cards, len(used)))
            self.cards, self.proved = used, True
            for card in self.cards:
                card.middle = card.device.state()

    def after_epoch(self, number, epochs):
        """Read the memory, after the middle one of several epochs also clocks and temperature."""
        self.after_first_step()
        with self._aside():
            for card in self.cards:
                card.sample()
                if epochs > 1 and number == (epochs + 1) // 2:
                    card.middle = card.device.state()

    def report(self):
        """``gpus`` of the document: an entry per card that was used; see docs/contract.md."""
        driver = self.nvml.driver()
        return {"gpus": [dict(card.report(), driver=driver) for card in self.cards]}


class Card:
    """One card of a cell, beside what was read of it at the start."""

    def __init__(self, device, first):
        self.device, self.first = device, first
        self.growth = self.joined = self.used = self.middle = None
        self.peak = first["memory_used"]

    def sample(self):
        """Read the used memory, in bytes or None."""
        used = self.device.memory_used()
        if used is not None:
            self.peak = max(used, self.peak or 0)
        return used

    def compare(self):
        """Set what has changed since the start, and ``used``: whether that proves a use; None if nothing is told."""
        memory, processes = self.sample(), self.device.processes()
        if None not in (memory, self.first["memory_used"]):
            self.growth = memory - self.first["memory_used"]
        if None not in (processes, self.first["processes"]):
            self.joined = sum((pids(processes) - pids(self.first["processes"])).values())
        if (self.growth, self.joined) != (None, None):
            self.used = (self.growth or 0) >= LEAST_GROWTH or (self.joined or 0) > 0

    def report(self):
        """The entry in the document, but for the driver."""
        last = reading(self.device)
        self.sample()
        others = self.first["processes"]
        return dict(
            self.device.facts(),
            used=self.used,
            memory_growth=self.growth,
            new_processes=self.joined,
            memory_at_start=self.first["memory_used"],
            others=None if others is None else len(others),
            others_memory=None if others is None else sum(process["memory"] or 0 for process in others),
            peak_memory=self.peak,
            energy=difference(self.first["energy"], last["energy"]),
            start=self.first["state"],
            middle=self.middle,
            end=last["state"],
        )


def difference(start, end):
    """Joules from one counter to the next; None if one was not told, or if the driver has begun anew in between."""
    return None if None in (start, end) or end < start else end - start


def pids(processes):
    """How often each pid is there: those of a container may all be 0."""
    return Counter(process["pid"] for process in processes)


def refusal(cards, used):
    """Why a cell that used so many of these cards is refused."""
    idle = [card for card in cards if card.used is False]
    given = ", ".join(card.device.uuid for card in cards)
    growths = [card.growth for card in idle if card.growth is not None]
    memory = "its memory is not told, and no process has joined"
    if growths:
        memory = "memory on it grew by %d MB after the first step" % (max(max(growths), 0) // 2**20)
    return "the cell was given %s but nothing of it used %s: %s. %s" % (
        given,
        "the card" if len(cards) == 1 else ", ".join(card.device.uuid for card in idle),
        memory,
        "The framework used %d of %d." % (used, len(cards)) if used else "The framework fell back to the CPU.",
    )

"""The state of GPUs before and after a cell: clocks, temperature, throttling, energy."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

THROTTLED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal, by the driver",
    0x40: "thermal, by the hardware",
    0x80: "power brake",
}
"""Bits of NVML's clocks event reasons that make a GPU slower than it is; the others tell of idleness and settings."""


@dataclass(frozen=True)
class GpuState:
    """A GPU at a moment; None is what the card does not tell (none before Volta counts energy).

    Clocks in MHz, temperature in °C, power limit in watts, ``energy`` in joules since the driver was loaded.
    """

    uuid: str
    graphics_clock: int | None
    memory_clock: int | None
    temperature: int | None
    power_limit: float | None
    throttled: tuple[str, ...]
    energy: float | None


def states(uuids: Sequence[str]) -> tuple[GpuState, ...]:
    """The state of GPUs of this host; empty if the driver does not know one of them."""
    if not uuids:
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
        return tuple(state(uuid) for uuid in uuids)
    except pynvml.NVMLError:
        return ()


def state(uuid: str) -> GpuState:
    """The state of one GPU; raises NVMLError if there is none of that UUID."""
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    told: dict[str, int] = {}
    questions: Mapping[str, Callable[[], int]] = {
        "graphics": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_GRAPHICS),
        "memory": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        "temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "limit": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        "reasons": lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        "energy": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
    }
    for name, ask in questions.items():
        with suppress(pynvml.NVMLError):
            told[name] = int(ask())
    return GpuState(
        uuid,
        told.get("graphics"),
        told.get("memory"),
        told.get("temperature"),
        told["limit"] / 1000 if "limit" in told else None,
        tuple(reason for bit, reason in THROTTLED.items() if told.get("reasons", 0) & bit),
        told["energy"] / 1000 if "energy" in told else None,
    )


def energy(before: Sequence[GpuState], after: Sequence[GpuState]) -> float | None:
    """Joules that the GPUs of a cell took together from one moment to another; None if one does not count them."""
    pairs = [(start.energy, end.energy) for start, end in zip(before, after, strict=False)]
    known = [end - start for start, end in pairs if start is not None and end is not None]
    return sum(known) if known and len(known) == len(before) == len(after) else None

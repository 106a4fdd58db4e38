"""What NVIDIA's driver tells, asked by its own library libnvidia-ml.so.1 (NVML) through ctypes.

Needs no package and nothing newer than Python 3.6. Drivers since 375 are asked alike: what one of them can't tell,
because the card does not support it or the driver is too old to have the function, is None.
"""

import ctypes
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p

LIBRARY = "libnvidia-ml.so.1"
INSUFFICIENT_SIZE, FUNCTION_NOT_FOUND = 7, 13
NOT_AVAILABLE = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE, of a process' memory
LONGEST_REASON = 200
GRAPHICS_CLOCK, MEMORY_CLOCK, TEMPERATURE_OF_GPU = 0, 2, 0

THROTTLED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal, by the driver",
    0x40: "thermal, by the hardware",
    0x80: "power brake",
}
"""Bits of NVML's clocks event reasons that make a GPU slower than it is; the others tell of idleness and settings."""


class NvmlError(Exception):
    """What NVML answered in place of what it was asked, in its own words; ``code`` is None if it was not there."""

    def __init__(self, text, code=None):
        super().__init__(text)
        self.code = code


class Memory(ctypes.Structure):
    """nvmlMemory_t, bytes."""

    _fields_ = [("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong)]


class Process(ctypes.Structure):
    """nvmlProcessInfo_v1_t, ``memory`` in bytes."""

    _fields_ = [("pid", c_uint), ("memory", c_ulonglong)]


class ProcessOfSlice(ctypes.Structure):
    """nvmlProcessInfo_v2_t, which also names the MIG slice."""

    _fields_ = [("pid", c_uint), ("memory", c_ulonglong), ("gpu_instance", c_uint), ("compute_instance", c_uint)]


PROCESS_LISTS = (("_v2", ProcessOfSlice), ("_v3", ProcessOfSlice), ("", Process))
"""Versions of nvmlDeviceGetComputeRunningProcesses, by preference.

The second comes before the third, whose structure had one more field in the first drivers of 535 only.
"""


class Nvml:
    """The driver of this machine. Raises NvmlError if there is none, or if it does not answer.

    ``unreadable`` has {"index", "reason"} for each GPU, or slice of the GPU, of which ``devices`` could not be told.
    """

    def __init__(self):
        try:
            self.library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise NvmlError("no driver: %s not found" % LIBRARY) from None
        self.unreadable = []
        self.call("nvmlInit_v2" if self.has("nvmlInit_v2") else "nvmlInit")

    def has(self, name):
        """Whether the driver is new enough for this function."""
        return hasattr(self.library, name)

    def call(self, name, *words):
        """Call a function of NVML; raises NvmlError unless it succeeds."""
        if not self.has(name):
            raise NvmlError("%s: the driver has no such function" % name, FUNCTION_NOT_FOUND)
        code = getattr(self.library, name)(*words)
        if code != 0:
            raise NvmlError("%s: %s" % (name, self.text_of(code)), code)

    def text_of(self, code):
        """NVML's own words for an error code."""
        if not self.has("nvmlErrorString"):
            return "error %d" % code
        explain = self.library.nvmlErrorString
        explain.argtypes, explain.restype = [c_int], c_char_p
        return (explain(code) or b"").decode("ascii", "replace") or "error %d" % code

    def number(self, name, kind, *words):
        """The number that a function writes behind its last pointer, or None if it can't be told."""
        value = kind()
        try:
            self.call(name, *(words + (byref(value),)))
        except NvmlError:
            return None
        return int(value.value)

    def text(self, name, *words):
        """The text that a function writes; raises NvmlError."""
        buffer = ctypes.create_string_buffer(256)
        self.call(name, *(words + (buffer, c_uint(len(buffer)))))
        return buffer.value.decode("utf-8", "replace")

    def driver(self):
        """The driver's version, say "470.57.02"."""
        return self.text("nvmlSystemGetDriverVersion")

    def cuda(self):
        """The newest CUDA that the driver runs, as [major, minor]; None from drivers that do not tell."""
        version = self.number("nvmlSystemGetCudaDriverVersion", c_int)
        return None if version is None else [version // 1000, version % 1000 // 10]

    def devices(self):
        """Every GPU that is visible here, and behind one that is divided by MIG each of its visible slices.

        A GPU that is lost, or that this user may not have, hides none of the others: it is noted in ``unreadable``.
        """
        count = c_uint()
        self.call("nvmlDeviceGetCount_v2", byref(count))
        self.unreadable, found = [], []
        for index in range(count.value):
            with self._noting(index):
                handle = c_void_p()
                self.call("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle))
                card = Device(self, handle, index)
                found.append(card)
                found += self._slices(card)
        return found

    @contextmanager
    def _noting(self, index, what=""):
        """Note what can't be read, and go on."""
        try:
            yield
        except NvmlError as error:
            self.unreadable.append({"index": index, "reason": (what + str(error))[:LONGEST_REASON]})

    def _slices(self, card):
        """The slices of a card; their numbers may have gaps, and a container may see some of them only."""
        most = self.number("nvmlDeviceGetMaxMigDeviceCount", c_uint, card.handle) if card.mig == "divided" else 0
        found = []
        for number in range(most or 0):
            handle = c_void_p()
            try:
                self.call("nvmlDeviceGetMigDeviceHandleByIndex", card.handle, c_uint(number), byref(handle))
            except NvmlError:
                continue
            with self._noting(card.index, "slice %d: " % number):
                found.append(Device(self, handle, card.index, card))
        return found


class Device:
    """A GPU, or a MIG slice of the GPU ``parent``; raises NvmlError if its name or UUID can't be read.

    ``index`` is the driver's number of a GPU, ``capability`` [major, minor], ``memory`` in bytes, ``power_limit`` in
    watts, ``mig`` one of "off", "divided" (no program can use the whole of it) and "slice". Of a slice, capability,
    clocks, temperature, power limit and what throttles it are those of its GPU.
    """

    def __init__(self, nvml, handle, index, parent=None):
        self.nvml, self.handle, self.index, self.parent = nvml, handle, index, parent
        self.card = parent.handle if parent else handle
        self.name, self.uuid = nvml.text("nvmlDeviceGetName", handle), nvml.text("nvmlDeviceGetUUID", handle)
        self.capability = self._capability()
        self.memory = self._memory("total")
        limit = nvml.number("nvmlDeviceGetEnforcedPowerLimit", c_uint, self.card)
        self.power_limit = None if limit is None else limit / 1000
        self.mig = "slice" if parent else self._mig()

    def is_called(self, name):
        """Whether a name is the beginning of its UUID, or says where a slice is: MIG-<UUID of its GPU>/1/0."""
        gpu, slash, place = name[len("MIG-") :].partition("/")
        of_parent = self.parent and slash and self.parent.uuid.startswith(gpu)
        return self.uuid.startswith(name) or bool(of_parent and place == self._place())

    def _place(self):
        """The numbers of a slice's GPU instance and compute instance on its GPU, as "1/0"."""
        names = ("nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId")
        return "/".join(str(self.nvml.number(name, c_uint, self.handle)) for name in names)

    def _capability(self):
        major, minor = c_int(), c_int()
        try:
            self.nvml.call("nvmlDeviceGetCudaComputeCapability", self.card, byref(major), byref(minor))
        except NvmlError:
            return None
        return [major.value, minor.value]

    def _mig(self):
        current, pending = c_uint(), c_uint()
        try:
            self.nvml.call("nvmlDeviceGetMigMode", self.handle, byref(current), byref(pending))
        except NvmlError:
            return "off"  # neither cards before the A100 nor drivers before 450 know MIG
        return "divided" if current.value else "off"

    def _memory(self, part):
        memory = Memory()
        try:
            self.nvml.call("nvmlDeviceGetMemoryInfo", self.handle, byref(memory))
        except NvmlError:
            return None
        return int(getattr(memory, part))

    def memory_used(self):
        """Bytes that are taken now, by whomever; None where GPU and CPU share one memory."""
        return self._memory("used")

    def processes(self):
        """Who computes on it now, a list of {"pid", "memory"}; None if the driver does not tell.

        Seen from a container, a pid may be the host's, or 0.
        """
        for suffix, kind in PROCESS_LISTS:
            name = "nvmlDeviceGetComputeRunningProcesses" + suffix
            if self.nvml.has(name):
                return self._processes(name, kind)
        return None

    def _processes(self, name, kind):
        room = 64
        while True:
            count, found = c_uint(room), (kind * room)()
            try:
                self.nvml.call(name, self.handle, byref(count), found)
            except NvmlError as error:
                if error.code == INSUFFICIENT_SIZE and room < 2**16:
                    room *= 4
                    continue
                return None
            taken = found[: count.value]
            return [{"pid": p.pid, "memory": None if p.memory == NOT_AVAILABLE else p.memory} for p in taken]

    def energy(self):
        """Joules since the driver was loaded, from Volta on; None for a slice: the card counts its neighbours too."""
        counted = self.nvml.number("nvmlDeviceGetTotalEnergyConsumption", c_ulonglong, self.card)
        return None if counted is None or self.parent else counted / 1000

    def state(self):
        """Clocks in MHz, temperature in °C, and what makes it slower than it is, at this moment."""
        ask = self.nvml.number
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons", c_ulonglong, self.card)
        return {
            "graphics_clock": ask("nvmlDeviceGetClockInfo", c_uint, self.card, c_int(GRAPHICS_CLOCK)),
            "memory_clock": ask("nvmlDeviceGetClockInfo", c_uint, self.card, c_int(MEMORY_CLOCK)),
            "temperature": ask("nvmlDeviceGetTemperature", c_uint, self.card, c_int(TEMPERATURE_OF_GPU)),
            "throttled": None if reasons is None else [text for bit, text in THROTTLED.items() if reasons & bit],
        }

    def facts(self):
        """What does not change while a cell runs."""
        names = ("name", "uuid", "capability", "memory", "power_limit", "mig")
        return {name: getattr(self, name) for name in names}

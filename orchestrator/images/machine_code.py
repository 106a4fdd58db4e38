"""Runs inside an image and prints, as JSON, the GPUs its libraries have machine code for. Needs only Python 3.6.

A library carries its kernels in fat binaries: containers of CUDA's compilers that hold the same kernels as machine code
for some architectures and as PTX, which the driver compiles, for others. Their format is not documented. Only the
headers are read here, and NVIDIA's cuobjdump finds the same in them: benchmarks/machine_code.py.
"""

import json
import os
import struct
import sys
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

ELF = b"\x7fELF\x02\x01"  # of 64 bits, little-endian
FAT_BINARY = struct.pack("<I", 0xBA55ED50)
EM_CUDA = 190
SHT_NOBITS = 8

ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
CONTAINER = struct.Struct("<4sHHQ")  # magic, version, size of this header, size of what follows
ENTRY = struct.Struct("<HHIQ12xI8xQ16x")  # kind, version, size of this header, size of the code, architecture, flags

PTX, MACHINE_CODE = 1, 2
EXACT, FAMILY = 1 << 20, 1 << 21  # flags: sm_90a, sm_100f

EXECUTABLE, RELOCATABLE = b".nv_fatbin", b"__nv_relfatbin"
COMPATIBILITY = b".nv.compat"
EXACT_CUBIN = bytes([2, 9, 1])

OLDEST, NEWEST = 10, 999
"""Numbers of architectures, as 75 for 7.5."""

UPX, UPX_TRAILER = b"UPX!", 64
"""MXNet's wheel for CUDA 9 is packed, which leaves no table of sections."""

MOST_SECTIONS = 100000
MOST_ENTRIES = 200000
"""In one file, fat binaries included; libcublasLt 13 has 9,000."""
MOST_COMBINATIONS = 1000
LONGEST_HEADER = 1 << 20
"""Bytes of an entry's header, which also holds names and options; 3,952 were seen."""
LONGEST_PADDING = 1 << 12

UNSEEN = ("/proc", "/sys", "/dev", "/data", "/results")
"""Folders that are not part of the image."""


class Unreadable(ValueError):
    """The numbers in a file contradict its size or each other."""


class FatBinaries(NamedTuple):
    """A number of a file's fat binaries with code for the same architectures, from old to new, as "90a"."""

    binaries: Tuple[str, ...]
    ptx: Tuple[str, ...]
    times: int


class Found(NamedTuple):
    """The device code of a file, and its size in bytes."""

    fat_binaries: Tuple[FatBinaries, ...]
    size: int


class Part:
    """A part of a file; nothing is read beyond its end."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.end = file, start, start + size

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start

    def check(self, offset: int, size: int) -> None:
        """Raise Unreadable if some bytes don't lie within."""
        if not self.start <= offset <= offset + size <= self.end:
            raise Unreadable("{:,} bytes at {:,} lie outside {:,} to {:,}".format(size, offset, self.start, self.end))

    def at(self, offset: int, size: int) -> bytes:
        """Bytes from an offset in the file; raises Unreadable."""
        self.check(offset, size)
        self.file.seek(offset)
        found = self.file.read(size)
        if len(found) != size:
            raise Unreadable("the file ends before {:,}".format(offset + size))
        return found

    def part(self, start: int, size: int) -> "Part":
        """A part of it; raises Unreadable."""
        self.check(start, size)
        return Part(self.file, start, size)


def read(file: BinaryIO) -> Optional[Found]:
    """Return the device code of a file: a library, a program, a cubin or a fat binary; None without any.

    Relocatable code counts only if there is no executable code: the driver can't load it before it is linked.
    Raises Unreadable.
    """
    whole = Part(file, 0, file.seek(0, os.SEEK_END))
    head = whole.at(0, min(whole.end, ELF_HEADER.size))
    if head.startswith(FAT_BINARY):
        return collect([whole])
    if not head.startswith(ELF) or len(head) < ELF_HEADER.size:
        return None
    header = ELF_HEADER.unpack(head)
    tail = min(whole.end, UPX_TRAILER)
    if UPX in whole.at(whole.end - tail, tail):
        raise Unreadable("it is packed by UPX")
    if header[2] == EM_CUDA:
        compatibility = [part for _, part in sections(whole, header, (COMPATIBILITY,))]
        architecture = of_cubin(head[8], header[7], [part.at(part.start, min(part.size, 3)) for part in compatibility])
        return Found((FatBinaries((architecture,), (), 1),), whole.end)
    parts = list(sections(whole, header, (EXECUTABLE, RELOCATABLE)))
    return collect([part for name, part in parts if name == EXECUTABLE]) or collect(
        [part for name, part in parts if name == RELOCATABLE]
    )


def of_cubin(abi: int, flags: int, compatibility: List[bytes]) -> str:
    """Return the architecture of a cubin from its ELF header: since ABI 8 it is the second byte of the flags.

    Another bit, which had other meanings before sm_90, tells whether it is an exact one; since CUDA 13 the first
    attribute of a section of its own does. Raises Unreadable.
    """
    number = flags >> 8 & 0xFF if abi >= 8 else flags & 0xFF
    if number < OLDEST:
        raise Unreadable("a cubin for {}".format(number))
    exact = EXACT_CUBIN in compatibility or (number >= 90 and flags & (0x8 if abi >= 8 else 0x800))
    return str(number) + ("a" if exact else "")


def sections(whole: Part, header: Tuple[Any, ...], wanted: Tuple[bytes, ...]) -> Iterator[Tuple[bytes, Part]]:
    """Yield name and content of the sections with the wanted names."""
    offset, size, count, of_names = header[6], header[11], header[12], header[13]
    if not offset:
        return
    if size != SECTION.size:
        raise Unreadable("section headers of {:,} bytes".format(size))
    first = SECTION.unpack(whole.at(offset, size))
    count, of_names = count or first[5], first[6] if of_names == 0xFFFF else of_names
    if count > MOST_SECTIONS or of_names >= count:
        raise Unreadable("{:,} sections, with names in the {:,}th".format(count, of_names))
    table = list(SECTION.iter_unpack(whole.at(offset, size * count)))
    names = whole.part(table[of_names][4], table[of_names][5])
    for section in table:
        for name in wanted:
            start = names.start + section[0]
            if section[1] == SHT_NOBITS or start + len(name) + 1 > names.end:
                continue
            if names.at(start, len(name) + 1) == name + b"\0":
                yield name, whole.part(section[4], section[5])


def collect(parts: List[Part]) -> Optional[Found]:
    """Return the device code of the fat binaries in some parts of a file; None if there is none."""
    found: Dict[Tuple[Tuple[str, ...], Tuple[str, ...]], int] = {}
    left = MOST_ENTRIES
    for container in (container for part in parts for container in containers(part)):
        code: Dict[int, Set[str]] = {PTX: set(), MACHINE_CODE: set()}
        left -= 1
        for kind, architecture in entries(container):
            left -= 1
            if left < 0:
                break
            code.setdefault(kind, set()).add(architecture)
        architectures = arranged(code[MACHINE_CODE]), arranged(code[PTX])
        if any(architectures):
            found[architectures] = found.get(architectures, 0) + 1
        if left < 0 or len(found) > MOST_COMBINATIONS:
            limits = "more than {:,} pieces of device code, or {:,} combinations of architectures"
            raise Unreadable(limits.format(MOST_ENTRIES, MOST_COMBINATIONS))
    size = sum(part.size for part in parts)
    return Found(tuple(FatBinaries(*each, times) for each, times in sorted(found.items())), size) if found else None


def arranged(architectures: Iterable[str]) -> Tuple[str, ...]:
    """From old to new: 90, 90a, 100."""
    return tuple(sorted(architectures, key=lambda name: (int(name.rstrip("af")), name)))


def containers(part: Part) -> Iterator[Part]:
    """Yield the content of each fat binary, without its header."""
    offset = next_container(part, part.start)
    while offset is not None:
        _, version, header, size = CONTAINER.unpack(part.at(offset, CONTAINER.size))
        if version != 1 or header < CONTAINER.size:
            raise Unreadable("a fat binary of version {}, with a header of {:,} bytes".format(version, header))
        container = part.part(offset + header, size)
        yield container
        offset = next_container(part, container.end)


def entries(container: Part) -> Iterator[Tuple[int, str]]:
    """Kind and architecture of each piece of code in a fat binary."""
    offset = container.start
    while offset < container.end:
        kind, _, header, size, number, flags = ENTRY.unpack(container.at(offset, ENTRY.size))
        if not ENTRY.size <= header <= LONGEST_HEADER or not OLDEST <= number <= NEWEST:
            raise Unreadable("code for {}, with a header of {:,} bytes".format(number, header))
        yield kind, str(number) + ("a" if flags & EXACT else "f" if flags & FAMILY else "")
        offset = container.part(offset + header, size).end


def next_container(part: Part, offset: int) -> Optional[int]:
    """Return the offset of the next container, here or after a linker's zero padding; None at the end."""
    left = part.end - offset
    if left >= len(FAT_BINARY) and part.at(offset, len(FAT_BINARY)) == FAT_BINARY:
        return offset
    size = min(LONGEST_PADDING, left)
    found = part.at(offset, size)
    padding = size - len(found.lstrip(b"\0"))
    if padding == left:
        return None
    if not found.startswith(FAT_BINARY, padding):
        raise Unreadable("no fat binary at {:,}".format(offset + padding))
    return offset + padding


def libraries(root: str) -> Iterator[str]:
    """Regular files under a folder that are named as libraries, cubins or fat binaries; links are not followed."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if os.path.join(folder, name) not in UNSEEN)
        for name in sorted(names):
            path = os.path.join(folder, name)
            named = ".so" in name or name.endswith((".cubin", ".fatbin"))
            if named and os.path.isfile(path) and not os.path.islink(path):
                yield path


def scan(root: str) -> Dict[str, Dict[str, Any]]:
    """Return the device code of each library under a folder, by relative path, and why others can't be read."""
    readable: Dict[str, Any] = {}
    unreadable: Dict[str, Any] = {}
    for path in libraries(root):
        name = os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")
        try:
            with open(path, "rb") as file:
                found = read(file)
        except (Unreadable, OSError) as error:
            unreadable[name] = str(error)[:200]
        else:
            if found:
                fat_binaries = [dict(each._asdict()) for each in found.fat_binaries]
                readable[name] = {"fat_binaries": fat_binaries, "size": found.size}
    return {"libraries": readable, "unreadable": unreadable}


def main() -> None:
    """Print the scan of the whole image or of a folder."""
    json.dump(scan(sys.argv[1] if len(sys.argv) > 1 else "/"), sys.stdout)


if __name__ == "__main__":
    main()

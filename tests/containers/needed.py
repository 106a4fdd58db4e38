"""Run inside an image: what its files for the loader want and are, as JSON. Python 3.6 and nothing else.

Prints the names of all shared libraries in the image, and for each ELF file under the folder in the first argument the
names that it needs.
"""

import json
import mmap
import os
import struct
import sys

FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/local/lib")
LOADED, DYNAMIC = 1, 2
NEEDED, STRING_TABLE, SONAME = 1, 5, 14


def dynamic(data):
    """The names of the dynamic section of a 64-bit little-endian ELF file, by their tag."""
    offset, size, count = struct.unpack_from("<Q", data, 32) + struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + size * i) for i in range(count)]
    loaded = [(address, at, length) for kind, _, at, address, _, length in headers if kind == LOADED]
    tags = []
    for kind, _, at, _, _, length in headers:
        if kind == DYNAMIC:
            tags += [struct.unpack_from("<QQ", data, at + 16 * i) for i in range(length // 16)]
    names = {NEEDED: [], SONAME: []}
    for table in (value for tag, value in tags if tag == STRING_TABLE):
        start = next(at + table - address for address, at, length in loaded if address <= table < address + length)
        for tag, value in tags:
            if tag in names:
                names[tag].append(data[start + value : data.find(b"\0", start + value)].decode())
    return names


def main(folder):
    """Print it."""
    held, needed = set(), {}
    for parent, _, files in (entry for root in FOLDERS for entry in os.walk(root)):
        for name in files:
            path = os.path.join(parent, name)
            if ".so" in name:
                held.add(name)
            if not parent.startswith(folder) or os.path.islink(path):
                continue
            with open(path, "rb") as file:
                if file.read(5) != b"\x7fELF\x02":
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    names = dynamic(data)
            held.update(names[SONAME])
            needed[os.path.relpath(path, folder)] = names[NEEDED]
    json.dump({"held": sorted(held), "needed": needed}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])

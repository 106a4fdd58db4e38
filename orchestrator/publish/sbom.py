"""The contents of an image → CycloneDX 1.5."""

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from orchestrator.publish.examination import Inventory, Package

PURLS: Mapping[str, str] = {
    "deb": "pkg:deb/debian/{}@{}?arch=amd64",
    "pypi": "pkg:pypi/{}@{}",
    "cran": "pkg:cran/{}@{}",
    "python": "pkg:generic/{}@{}",
    "bundled": "pkg:generic/{}@{}",
    "file": "pkg:generic/{}@{}",
}

HASHED = ("python", "bundled", "file")
"""Kinds with the checksum of a file of their own; a package has that of the list of its files instead."""

LICENCES: Mapping[str, str] = {
    "HDF5": "BSD-3-Clause",
    "MKL": "Intel Simplified Software License",
    "OpenBLAS": "BSD-3-Clause",
    "OpenSSL": "Apache-2.0",
    "SQLite": "blessing",
    "libgcc_s": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libhdf5": "BSD-3-Clause",
    "libhdf5_hl": "BSD-3-Clause",
    "libiomp5": "Apache-2.0 WITH LLVM-exception",
    "libmkl": "Intel Simplified Software License",
    "libopenblas": "BSD-3-Clause",
    "libquadmath": "LGPL-2.1-or-later",
    "libscipy_openblas": "BSD-3-Clause",
    "libstdc++": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libsz": "BSD-3-Clause",
    "libaec": "BSD-2-Clause",
    "libcud": "NVIDIA terms",
    "libcublas": "NVIDIA terms",
    "libcufft": "NVIDIA terms",
    "libcurand": "NVIDIA terms",
    "libcusparse": "NVIDIA terms",
    "libcusolver": "NVIDIA terms",
    "libnccl": "BSD-3-Clause",
    "libnv": "NVIDIA terms",
    "zlib": "Zlib",
}
"""Licences of libraries that wheels bundle without naming one, as their authors state them, by name prefix."""


def cyclonedx(name: str, image_id: str, inventory: Inventory) -> dict[str, Any]:
    """Return the CycloneDX document; it carries no time, so the same image gives the same document."""
    title, _, version = name.rpartition(":")
    sizes = [{"name": f"rosetta:bytes:{kind}", "value": str(size)} for kind, size in sorted(inventory.sizes.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, image_id).urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image_id,
                "name": title,
                "version": version,
                "properties": [{"name": "docker:image-id", "value": image_id}, *sizes],
            }
        },
        "components": [component(package) for package in inventory.packages],
    }


def component(package: Package) -> dict[str, Any]:
    """A package, or a library that lies in one."""
    normal = package.name.lower().replace("_", "-") if package.kind == "pypi" else package.name
    purl = PURLS[package.kind].format(quote(normal), quote(package.version or "")).replace("@?", "?").rstrip("@")
    place = f"{package.within}#" if package.within else ""  # two packages may bring a library each
    found: dict[str, Any] = {
        "type": "platform" if package.kind == "python" else "library",
        "bom-ref": f"{place}{purl}" + (f"#{package.sha256[:16]}" if place and package.sha256 else ""),
        "name": package.name,
        "purl": purl,
    }
    found |= {"version": package.version} if package.version else {}
    if licence := package.licence or licence_of(package):
        found["licenses"] = [{"license": {"name": licence}}]
    if package.sha256 and package.kind in HASHED:
        found["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    facts = {
        "rosetta:sha256-of-file-list": package.sha256 if package.kind not in HASHED else None,
        "rosetta:within": package.within,
    }
    properties = [{"name": key, "value": value} for key, value in facts.items() if value]
    return {**found, "properties": properties} if properties else found


def licence_of(package: Package) -> str | None:
    """Return the licence of a library that does not state one itself; None if it is not known."""
    if package.kind not in ("bundled", "file"):
        return None
    beginnings = [name for name in LICENCES if package.name.startswith(name)]
    return LICENCES[max(beginnings, key=len)] if beginnings else None

"""What is in an image → CycloneDX 1.5."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from orchestrator.publish.examination import Package

PURLS: Mapping[str, str] = {
    "deb": "pkg:deb/debian/{}@{}?arch=amd64",
    "pypi": "pkg:pypi/{}@{}",
    "cran": "pkg:cran/{}@{}",
}


def cyclonedx(name: str, image_id: str, packages: Sequence[Package]) -> dict[str, Any]:
    """The document; the same for the same image, so it carries no time."""
    title, _, version = name.rpartition(":")
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
                "properties": [{"name": "docker:image-id", "value": image_id}],
            }
        },
        "components": [component(package) for package in packages],
    }


def component(package: Package) -> dict[str, Any]:
    """A package."""
    name, version = package.name, package.version
    normal = name.lower().replace("_", "-") if package.kind == "pypi" else name
    purl = PURLS[package.kind].format(quote(normal), quote(version))
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**found, "licenses": [{"license": {"name": package.licence}}]} if package.licence else found

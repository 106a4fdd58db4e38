"""Kernels that are compiled on the machine that needs them, kept from cell to cell.

Images lack machine code for some GPUs: then NVIDIA's driver compiles, for minutes, when a kernel is first called. What
it makes is kept in a named volume of the engine for each image, model of card and driver, which cells on a GPU of that
image see and nobody else. The harness fills it before a cell's clock runs: ``workloads/harness/kernels.py``.

A cell writes into its volume, so it is not trusted with more than the cells of the same image could do anyway: another
image never sees it, and one that has grown beyond ``LARGEST`` is thrown away.
"""

import io
import re
import tarfile
from contextlib import suppress

from docker import APIClient
from docker.errors import APIError
from docker.types import Mount

from orchestrator.engines.isolation import USER
from orchestrator.system.gpus import Version, text

INSIDE = "/kernels"
FOLDER = f"{INSIDE}/cache"
"""Where a cell has it; a folder in the volume, since the volume's own root belongs to the engine's user."""

VARIABLES = {"CUDA_CACHE_PATH": FOLDER}
LARGEST = 4 * 2**30
"""Bytes: twice what the driver keeps by itself, and room for CuPy's."""

KIND, OF_TAG, OF_IMAGE = "rosetta", "rosetta.image", "rosetta.image.id"
"""Labels of a volume."""


def name_of(image: str, model: str, driver: Version) -> str:
    """The volume for an image, by its id, a model of card and a driver."""
    named = f"rosetta-kernels-{image.removeprefix('sha256:')[:12]}-{model}-{text(driver) or 'unknown'}"
    return re.sub(r"[^\w.-]", "-", named)


def mount(name: str) -> Mount:
    """The volume as a cell gets it; what the image has there does not get in."""
    return Mount(INSIDE, name, type="volume", no_copy=True)


def prepare(api: APIClient, image: str, tag: str, model: str, driver: Version) -> str:
    """Make the volume for an image that has this tag, or find it; returns its name.

    Those of earlier images of the tag are removed: nothing runs in them any more. Raises APIError.
    """
    name = name_of(image, model, driver)
    filters = {"label": [f"{KIND}=kernels", f"{OF_TAG}={tag}"]}
    for volume in api.volumes(filters=filters)["Volumes"] or []:
        if volume["Labels"].get(OF_IMAGE) != image or (volume["Name"] == name and is_too_large(api, name)):
            with suppress(APIError):  # a cell of an older run still has it
                api.remove_volume(volume["Name"])
    api.create_volume(name, labels={KIND: "kernels", OF_TAG: tag, OF_IMAGE: image})
    host = api.create_host_config(mounts=[mount(name)])
    helper = api.create_container(image, ["-"], host_config=host, labels={KIND: "kernels"})["Id"]
    try:
        api.put_archive(helper, INSIDE, own_folder())
    finally:
        api.remove_container(helper, v=False, force=True)
    return name


def is_too_large(api: APIClient, name: str) -> bool:
    """Whether cells have written more into a volume than it is for."""
    url = f"{api.base_url}/v{api.api_version}/system/df"
    response = api.get(url, params={"type": "volume"}, timeout=api.timeout)
    response.raise_for_status()
    sizes = {volume["Name"]: volume["UsageData"]["Size"] for volume in response.json()["Volumes"] or []}
    return int(sizes.get(name, 0)) > LARGEST


def own_folder() -> bytes:
    """A tar archive of an empty folder that belongs to the user of cells."""
    folder = tarfile.TarInfo(FOLDER.rpartition("/")[2])
    folder.type, folder.mode = tarfile.DIRTYPE, 0o700
    folder.uid, folder.gid = map(int, USER.split(":"))
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(folder)
    return written.getvalue()

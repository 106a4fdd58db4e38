"""A cache of just-in-time compiled kernels, shared between cells.

Images lack machine code for some GPUs; NVIDIA's driver then compiles for minutes when a kernel is first called. The
results are kept in a named volume of the engine per image, GPU model and driver, which only GPU cells of that image
see. The harness fills it before a cell's clock runs: ``workloads/harness/kernels.py``.

Cells write into the volume, so it is trusted no more than they are: no other image ever sees it, and one that has
grown beyond ``LARGEST`` is thrown away.
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
"""The cache's path in a cell: a folder in the volume, since the volume's own root belongs to the engine's user."""

VARIABLES = {"CUDA_CACHE_PATH": FOLDER}
LARGEST = 4 * 2**30
"""Most bytes of a volume: twice what the driver keeps by itself, and room for CuPy's."""

KIND, OF_TAG, OF_IMAGE = "rosetta", "rosetta.image", "rosetta.image.id"
"""Labels of a volume."""


def name_of(image: str, model: str, driver: Version) -> str:
    """Return the name of the volume for an image (by id), a GPU model and a driver."""
    named = f"rosetta-kernels-{image.removeprefix('sha256:')[:12]}-{model}-{text(driver) or 'unknown'}"
    return re.sub(r"[^\w.-]", "-", named)


def mount(name: str) -> Mount:
    """Return the mount of the volume in a cell; what the image has there is not copied into it."""
    return Mount(INSIDE, name, type="volume", no_copy=True)


def prepare(api: APIClient, image: str, tag: str, model: str, driver: Version) -> str:
    """Create the volume for an image of this tag unless it exists; returns its name.

    Volumes of earlier images of the tag are removed, as nothing runs in those any more. Raises APIError.
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
    """Return whether cells have written more than ``LARGEST`` bytes into a volume."""
    url = f"{api.base_url}/v{api.api_version}/system/df"
    response = api.get(url, params={"type": "volume"}, timeout=api.timeout)
    response.raise_for_status()
    sizes = {volume["Name"]: volume["UsageData"]["Size"] for volume in response.json()["Volumes"] or []}
    return int(sizes.get(name, 0)) > LARGEST


def own_folder() -> bytes:
    """Return a tar archive of an empty folder that belongs to the user of cells."""
    folder = tarfile.TarInfo(FOLDER.rpartition("/")[2])
    folder.type, folder.mode = tarfile.DIRTYPE, 0o700
    folder.uid, folder.gid = map(int, USER.split(":"))
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(folder)
    return written.getvalue()

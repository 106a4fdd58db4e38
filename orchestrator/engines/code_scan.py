"""Find the GPUs that an image has machine code for: its libraries are scanned after the build, and it is labelled."""

from collections.abc import Mapping, Sequence

from orchestrator.engines.client import Connection
from orchestrator.engines.scripts import run_script
from orchestrator.errors import BuildError
from orchestrator.images import records
from orchestrator.images.architectures import LABEL, SCRIPT, Scan, parse, scan_in
from orchestrator.images.building import add_labels, inspect_images
from orchestrator.images.image import Image
from orchestrator.system.terminal import Say


def found_in(image: Image, variables: Mapping[str, str]) -> Scan | None:
    """Return the scan in an image's label; None if the image is missing, or was not built here from this recipe.

    ``variables`` is the environment of docker's command.
    """
    there = inspect_images([image.tag], variables).get(image.tag)
    made_of = records.made_of(there["Id"]) if there is not None else None
    if there is None or made_of is None or made_of[0] != image.recipe:
        return None
    return scan_in(there)


def look_into(connection: Connection, images: Sequence[Image], say: Say) -> dict[str, str]:
    """Scan the GPU images that have not been scanned yet; returns the ids of all GPU images by tag.

    An image whose scan fails is run all the same: what is declared counts for it, as before it was built.
    """
    variables = connection.variables
    tags = [image.tag for image in images if image.platform != "cpu"]
    for tag, there in inspect_images(tags, variables).items():
        if scan_in(there) is None:
            say(f"{tag}: scanning its libraries for machine code")
            try:
                scan = parse(run_script(connection.api, there["Id"], SCRIPT))
                add_labels(there["Id"], tag, {LABEL: scan.model_dump_json()}, variables)
            except BuildError as error:
                say(f"{tag}: {error.what}")
    return {tag: str(there["Id"]) for tag, there in inspect_images(tags, variables).items()}

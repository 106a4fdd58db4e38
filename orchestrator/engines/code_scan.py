"""What GPUs an image has code for: looked for in its libraries when it was built, and kept as a label of it."""

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
    """What the label of an image says; None if it is not here, or was not built here from this recipe.

    ``variables`` are those of docker's command.
    """
    there = inspect_images([image.tag], variables).get(image.tag)
    made_of = records.made_of(there["Id"]) if there is not None else None
    if there is None or made_of is None or made_of[0] != image.recipe:
        return None
    return scan_in(there)


def look_into(connection: Connection, images: Sequence[Image], say: Say) -> dict[str, str]:
    """Look into those images for GPUs that nobody has looked into yet; returns the ids of all for GPUs by tag.

    An image that does not tell is run all the same: what is declared counts for it, as before it was built.
    """
    variables = connection.variables
    tags = [image.tag for image in images if image.platform != "cpu"]
    for tag, there in inspect_images(tags, variables).items():
        if scan_in(there) is None:
            say(f"{tag}: looking for the machine code in its libraries")
            try:
                scan = parse(run_script(connection.api, there["Id"], SCRIPT))
                add_labels(there["Id"], tag, {LABEL: scan.model_dump_json()}, variables)
            except BuildError as error:
                say(f"{tag}: {error.what}")
    return {tag: str(there["Id"]) for tag, there in inspect_images(tags, variables).items()}

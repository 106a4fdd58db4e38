"""Publish images to a registry, with readable tags that never move silently, and lists of what is in them.

The published image is the built one with more labels: it has the same layers, but an id of its own. The lock file
knows both, so that rows of results, which name the built image, find the published one.
"""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from orchestrator.engines.client import Connection
from orchestrator.errors import BuildError, ConflictError, RefusedError, RegistryError, ResultError
from orchestrator.images import records
from orchestrator.images.building import add_labels
from orchestrator.images.image import Image
from orchestrator.images.image_names import ImageName, checked_registry, is_local
from orchestrator.images.published import LOCK
from orchestrator.publish import registry
from orchestrator.publish.examination import Examined, examine, labels_of, notes_of, page_about
from orchestrator.publish.sbom import cyclonedx
from orchestrator.system.checkout import commit
from orchestrator.system.terminal import Say
from orchestrator.system.text_files import write_text

if TYPE_CHECKING:
    import pyarrow as pa

RESULTS = "results.parquet"
SBOM = "sbom.cdx.json"
STAND_IN = "rosetta.stand-in"
"""The label of base images that stand in for official ones in tests; what is made of them is not for others."""


@dataclass(frozen=True)
class Draft:
    """An image to publish: its destination, its labels, and the digest that its tag has already, if any."""

    repository: str
    tag: str
    found: Examined
    labels: Mapping[str, str]
    there: str | None

    @property
    def name(self) -> str:
        """``ghcr.io/me/pytorch:2.13.0-cuda13``."""
        return f"{self.repository}:{self.tag}"

    @property
    def sbom(self) -> str:
        """Its SBOM, as a file."""
        return json.dumps(cyclonedx(self.name, self.found.id, self.found.inventory), indent=1) + "\n"


@dataclass(frozen=True)
class Published:
    """A line of the lock file: the image in the registry, and the built one, by its id, that ran the cells."""

    image: str
    built: str
    sbom: str
    recipe: str
    workloads: str
    commit: str | None


def draft(api: docker.APIClient, image: Image, where: str, *, move: bool) -> Draft:
    """Examine an image and its destination; raises RegistryError, BuildError.

    ``move`` says that it does not matter which image the tag has.
    """
    checked_registry(where)
    found = examine(api, image)
    if records.made_of(found.id) is None:
        raise BuildError(
            f"{image.tag} was not built here, so it is not ours to publish.", remedy="Build it: 'rosetta build'."
        )
    if found.labels.get(STAND_IN) and not is_local(where):
        raise RegistryError(
            f"{image.tag} was built on a stand-in for its base image, and is for this machine only.",
            remedy="Pull the official base images, then 'rosetta build'.",
        )
    name, tag = image.tag.removeprefix("rosetta/").split(":")
    repository = f"{where}/{name}"
    there = digest_there(api, f"{repository}:{tag}", move)
    return Draft(repository, tag, found, labels_of(found, commit()), there)


def digest_there(api: docker.APIClient, name: str, move: bool) -> str | None:
    """Return a tag's digest, or None; raises RefusedError if the registry does not tell and it may not ``move``.

    Some registries refuse to look at a repository that is not there yet as they refuse a wrong login. A push would tell
    the two apart, but it could move a tag that this login may write and not see.
    """
    try:
        return registry.digest_of(api, name)
    except RefusedError as error:
        if move:
            return None
        new = "if the repository does not exist yet and you may create it, push without checking: --move-tags"
        raise RefusedError(error.what, error.why, f"{error.remedy} Or, {new}.") from None


def publish(connection: Connection, drafted: Draft, *, move: bool, say: Say) -> Published:
    """Push an image and its SBOM; what is there already is not pushed again.

    Raises ConflictError if the tag is another image's, unless it is to ``move``; RegistryError.
    """
    add_labels(drafted.found.id, drafted.name, drafted.labels, connection.variables)
    api, there = connection.api, drafted.there
    same = there in registry.own_digests(api, drafted.name)
    if there and not same and not move:
        raise ConflictError(
            f"The registry has another {drafted.name}: {there}.",
            remedy="Choose another place with --registry, or move the tag with --move-tags.",
        )
    digest = str(there) if same else registry.push(api, drafted.repository, drafted.tag)
    reference = ImageName(drafted.repository, drafted.tag, digest)
    sbom = registry.digest_of(api, f"{drafted.name}.sbom") if same else None
    sbom = sbom or push_sbom(api, drafted, digest)
    say(f"{reference}{'  unchanged' if same else ''}")
    checkout = commit()
    recipe, workloads = records.made_of(drafted.found.id) or ("", "")
    return Published(
        str(reference),
        drafted.found.id,
        str(ImageName(drafted.repository, f"{drafted.tag}.sbom", sbom)),
        recipe,
        workloads,
        checkout[0] if checkout else None,
    )


def push_sbom(api: docker.APIClient, drafted: Draft, digest: str) -> str:
    """Push the SBOM as an image of one file beside the image; returns its digest.

    So the engine's login works for it as well, and any registry takes it, also one without referrers.
    """
    content, archive, tag = drafted.sbom.encode(), io.BytesIO(), f"{drafted.tag}.sbom"
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(SBOM)
        member.size, member.mode = len(content), 0o644
        tar.addfile(member, io.BytesIO(content))
    changes = [f"LABEL rosetta.sbom-of={digest}", f'CMD ["/{SBOM}"]']
    api.import_image_from_data(archive.getvalue(), drafted.repository, tag, changes)
    try:
        return registry.push(api, drafted.repository, tag)
    finally:
        api.remove_image(f"{drafted.repository}:{tag}")


def sign(published: Published) -> None:
    """Sign an image by its digest with cosign, as the user has set it up; raises RegistryError."""
    name, _, digest = published.image.rpartition("@")
    target = f"{name.rpartition(':')[0]}@{digest}"
    if shutil.which("cosign") is None:
        raise RegistryError(
            "The program cosign, which signs images, is missing.", remedy="Install it, or leave out --sign."
        )
    if subprocess.run(["cosign", "sign", "--yes", target], check=False).returncode != 0:
        raise RegistryError(f"cosign did not sign {target}.", remedy="See its output above.")


# --- What is handed out with the images ---------------------------------------------------------------------------
def write_page_and_sbom(drafted: Draft, folder: Path) -> None:
    """Write the page about an image, and its SBOM."""
    name = drafted.found.image.tag.removeprefix("rosetta/").replace(":", "-")
    write_text(folder / f"{name}.md", page_about(drafted.name, drafted.found, drafted.labels))
    write_text(folder / f"{name}.cdx.json", drafted.sbom)


def write_lock(folder: Path, every: Sequence[Published]) -> None:
    """Add what was published to the lock file; each tag is listed once."""
    path = folder / LOCK
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        lines = {tag_of(line["image"]): line for line in [*before, *map(asdict, every)]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultError(f"{path} is not a lock file of images.", f"{error}.", "Move it away.") from None
    write_text(path, json.dumps([lines[name] for name in sorted(lines)], indent=1) + "\n")


def tag_of(image: str) -> str:
    """A reference without its digest."""
    return image.partition("@")[0]


def with_references(results: "pa.Table", every: Sequence[Published]) -> "tuple[pa.Table, int]":
    """Return results whose rows that ran in these very images name them as others can pull them, and how many do.

    A row of an image that was rebuilt since then is left as it is: nobody can get what it ran in.
    """
    import pyarrow as pa

    names = {published.built: published.image for published in every}
    digests, images = (results[column].to_pylist() for column in ("image_digest", "image"))
    found = [names.get(digest, image) for digest, image in zip(digests, images, strict=True)]
    place = results.schema.get_field_index("image")
    field = results.schema.field(place)
    return results.set_column(place, field, pa.array(found, pa.string())), sum(map(names.__contains__, digests))


def draft_as_json(drafted: Draft, sign_it: bool) -> dict[str, Any]:
    """Return everything about a draft, for a preview."""
    return {
        "image": drafted.name,
        "there": drafted.there or "nothing yet",
        "built": drafted.found.id,
        "megabytes": round(drafted.found.size / 2**20),
        "packages": len(drafted.found.inventory.packages),
        "labels": {**drafted.found.labels, **drafted.labels},
        "sbom": f"{drafted.name}.sbom",
        "signed": sign_it,
        "notes": notes_of(drafted.found),
    }

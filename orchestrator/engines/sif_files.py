"""SIF files, Apptainer's image format: made from saved archives, and kept in the cache by image id."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from orchestrator.engines.apptainer_command import KEPT, OWN, PROGRAM
from orchestrator.errors import BuildError, DiskError, EngineError
from orchestrator.images import records
from orchestrator.images.architectures import Scan, scan_in
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.bases import LABEL
from orchestrator.images.foreign_archives import Archived
from orchestrator.images.image import Image
from orchestrator.images.saved import absent, archive_of, file_name, labels_in, sum_of
from orchestrator.system.addresses import without_secrets
from orchestrator.system.cache import cache_folder
from orchestrator.system.terminal import Say, silent

PACKING = "-Xcompression-level 1"
"""Options of gzip, which every installation reads: a third of its default's time, for a tenth more bytes."""


@dataclass(frozen=True)
class Sif:
    """A SIF file: the image's id, its labels, the checksum of the archive that it was made from, and its size."""

    id: str
    labels: Mapping[str, str]
    sum: str
    size: int

    @property
    def path(self) -> Path:
        """The path of the file."""
        return path_of(self.id)

    @property
    def is_whole(self) -> bool:
        """Whether the file is here and has its size: others may have removed it, or cut it off on a full disk."""
        return self.path.is_file() and self.path.stat().st_size == self.size


def path_of(image_id: str) -> Path:
    """Return the path of an image's SIF file."""
    return sif_folder() / f"{image_id.removeprefix('sha256:')}.sif"


def sif_folder() -> Path:
    """Return the folder of all SIF files."""
    return cache_folder() / "sif"


def note_of(image: Image) -> Path:
    """Return the path of the note that says which SIF file an image's tag refers to."""
    return sif_folder() / Path(file_name(image.tag)).with_suffix(".json")


def current(image: Image) -> Sif | None:
    """Return an image's SIF file if it is here and made from the current recipe, scripts and archive; else None."""
    with suppress(OSError, ValueError, TypeError, BuildError):
        sif = Sif(**json.loads(note_of(image).read_text(encoding="utf-8")))
        of_now = records.made_of(sif.id) == (image.recipe, workloads_digest(image))
        if of_now and sif.is_whole and sum_of(image) in (None, sif.sum):
            return sif
    return None


def unavailable(image: Image) -> str | None:
    """Return why an image has neither a SIF file here nor an archive to make one from; None if it has one."""
    if current(image) or sum_of(image):
        return None
    return f"Apptainer has no image of it: {absent()}"


def sif_of(image: Image, say: Say) -> Sif:
    """Return the SIF file of an image, made if missing; raises BuildError, ResultError, DiskError, EngineError."""
    if (found := current(image)) is not None:
        return found
    try:
        sif_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{sif_folder()} can't be written: {error.strerror}.") from None
    with FileLock(f"{note_of(image)}.lock"):
        if (found := current(image)) is not None:  # by somebody else, meanwhile
            return found
        digest = sum_of(image) or ""
        with archive_of(image) as archived:
            say(f"{image.tag}: making a SIF file from its archive")
            path = path_of(archived.id)
            make(archived, path)
            sif = Sif(archived.id, dict(labels_in(archived)), digest, path.stat().st_size)
        records.note(sif.id, image.recipe, workloads_digest(image))
        partial = note_of(image).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(sif)), encoding="utf-8")
        partial.replace(note_of(image))
        return sif


class SifFiles:
    """Base of engines whose images are SIF files in the cache folder."""

    def __init__(self) -> None:
        self._sifs: dict[str, Sif] = {}

    @property
    def image_folder(self) -> Path | None:
        """The folder of the SIF files; None if it does not exist."""
        folder = sif_folder()
        return folder if folder.is_dir() else None

    def unavailable(self, image: Image) -> str | None:
        """Return why an image can't be had: it is neither here nor in an archive; None if it can."""
        return unavailable(image)

    def machine_code(self, image: Image) -> Scan | None:
        """Return the scan made when the image was built."""
        sif = current(image)
        return scan_in({"Config": {"Labels": sif.labels}}) if sif else None

    def built_on(self, image: Image) -> str:
        """Return the bases that the image was built on, where it was built."""
        sif = current(image)
        return sif.labels.get(LABEL, "") if sif else ""

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Make missing files, one after the other; returns image ids by tag."""
        self._sifs |= {image.tag: sif_of(image, say) for image in wanted}
        return {image.tag: self._sifs[image.tag].id for image in wanted}

    def sif(self, image: Image) -> Sif:
        """Return the file that was prepared, not the tag's current one. Raises BuildError if there is none."""
        return self._sifs.get(image.tag) or sif_of(image, silent)


def make(archived: Archived, path: Path) -> None:
    """Make a SIF file atomically, from an archive rewritten from what was read of the original."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        copy, made = Path(folder, "image.tar"), Path(folder, "image.sif")
        try:
            with copy.open("wb") as file:
                for piece in archived.pieces():
                    file.write(piece)
        except OSError as error:
            raise DiskError(f"There is no room for {archived.tag} in {path.parent}: {error.strerror}.") from None
        kept = {name: os.environ[name] for name in (*KEPT, *OWN) if name in os.environ}
        variables = {"APPTAINER_TMPDIR": folder, "APPTAINER_CACHEDIR": folder, **kept}
        words = ["build", "--disable-cache", f"--mksquashfs-args={PACKING}", str(made), f"docker-archive:{copy}"]
        try:
            done = subprocess.run(
                [PROGRAM, *words], env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except OSError:
            raise EngineError("The command 'apptainer' is missing.", remedy="Install Apptainer 1.1 or newer.") from None
        if done.returncode != 0:
            tail = without_secrets("\n".join(done.stderr.splitlines()[-12:]))
            raise BuildError(f"Apptainer could not make a SIF file of {archived.tag}.", tail)
        made.replace(path)

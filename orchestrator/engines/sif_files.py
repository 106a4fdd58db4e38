"""SIF files, Apptainer's image format: made from saved archives or a registry, and kept in the cache by image id."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from orchestrator.engines.apptainer_command import KEPT, OWN, PROGRAM
from orchestrator.errors import BuildError, DiskError, EngineError
from orchestrator.images import records
from orchestrator.images.architectures import Scan, scan_in
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.bases import LABEL
from orchestrator.images.image import Image
from orchestrator.images.image_names import is_local
from orchestrator.images.published import LOCK, InRegistry, published
from orchestrator.images.saved import absent, archive_of, file_name, labels_in, sum_of
from orchestrator.system import file_locks
from orchestrator.system.addresses import without_secrets
from orchestrator.system.cache import cache_folder
from orchestrator.system.terminal import Say, silent

PACKING = "-Xcompression-level 1"
"""Options of gzip, which every installation reads: a third of its default's time, for a tenth more bytes."""


ARCHIVE, SIF = "image.tar", "image.sif"
"""Files in the folder in which a SIF file is made."""


@dataclass(frozen=True)
class Sif:
    """A SIF file: the image's id, its labels, its size, and its source: an archive's sha256 or an image's digest."""

    id: str
    labels: Mapping[str, str]
    source: str
    size: int

    @property
    def path(self) -> Path:
        """The path of the file."""
        return sif_folder() / f"{self.id.removeprefix('sha256:')}.sif"

    @property
    def is_whole(self) -> bool:
        """Whether the file is here and has its size: others may have removed it, or cut it off on a full disk."""
        return self.path.is_file() and self.path.stat().st_size == self.size


def sif_folder() -> Path:
    """Return the folder of all SIF files."""
    return cache_folder() / "sif"


def note_of(image: Image) -> Path:
    """Return the path of the note that says which SIF file an image's tag refers to."""
    return sif_folder() / Path(file_name(image.tag)).with_suffix(".json")


def current(image: Image) -> Sif | None:
    """Return an image's SIF file if it is here and made from the current recipe, scripts and source; else None."""
    with suppress(OSError, ValueError, TypeError, BuildError):
        sif = Sif(**json.loads(note_of(image).read_text(encoding="utf-8")))
        of_now = records.made_of(sif.id) == (image.recipe, workloads_digest(image))
        if of_now and sif.is_whole and source_of(image) in (None, sif.source):
            return sif
    return None


def source_of(image: Image) -> str | None:
    """Return the checksum of what a SIF file would be made from now; None if there is nothing. Raises ResultError."""
    if (archive := sum_of(image)) is not None:
        return archive
    found = published(image)
    return found.reference.digest if found else None


def unavailable(image: Image) -> str | None:
    """Return why an image has neither a SIF file here nor anything to make one from; None if it has one."""
    if current(image) or source_of(image):
        return None
    return f"Apptainer has no image of it: {absent()}"


def sif_of(image: Image, say: Say, stopped: Callable[[], bool] | None = None) -> Sif:
    """Return the SIF file of an image, made if missing, waiting for whoever makes it now until ``stopped()``.

    Raises BuildError, ResultError, DiskError, EngineError.
    """
    if (found := current(image)) is not None:
        return found
    if ":" in str(sif_folder()):
        why = f"From {sif_folder()} it would make one without labels and variables."
        raise EngineError("Apptainer can't make SIF files below a path with a colon.", why, "Set ROSETTA_CACHE.")
    try:
        sif_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{sif_folder()} can't be written: {error.strerror}.") from None
    with file_locks.waited_for(Path(f"{note_of(image)}.lock"), stopped) as held:
        if not held:
            raise BuildError(f"Stopped while another program made the SIF file of {image.name}.")
        if (found := current(image)) is not None:  # by somebody else, meanwhile
            return found
        there = published(image) if sum_of(image) is None else None
        sif = from_registry(image, there, say) if there else from_archive(image, say)
        records.note(sif.id, image.recipe, workloads_digest(image))
        partial = note_of(image).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(sif)), encoding="utf-8")
        partial.replace(note_of(image))
        return sif


class SifFiles:
    """Base of engines whose images are SIF files in the cache folder."""

    in_containers = True
    stopping: bool

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
        self._sifs |= {image.tag: sif_of(image, say, lambda: self.stopping) for image in wanted}
        return {image.tag: self._sifs[image.tag].id for image in wanted}

    def sif(self, image: Image) -> Sif:
        """Return the file that was prepared, not the tag's current one. Raises BuildError if there is none."""
        return self._sifs.get(image.tag) or sif_of(image, silent, lambda: self.stopping)


@contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary folder beside the SIF files."""
    with tempfile.TemporaryDirectory(dir=sif_folder(), prefix=".making-") as folder:
        yield Path(folder)


def from_archive(image: Image, say: Say) -> Sif:
    """Make a SIF file of an image's archive, from a copy that has only what was read of it."""
    digest = sum_of(image) or ""
    with archive_of(image) as archived, workplace() as folder:
        say(f"{image.tag}: making a SIF file from its archive")
        try:
            with (folder / ARCHIVE).open("wb") as file:
                for piece in archived.pieces():
                    file.write(piece)
        except OSError as error:
            raise DiskError(f"There is no room for {image.tag} in {folder.parent}: {error.strerror}.") from None
        made = built(image, folder, f"docker-archive:{ARCHIVE}")
        return kept(made, archived.id, labels_in(archived), digest)


def from_registry(image: Image, found: InRegistry, say: Say) -> Sif:
    """Make a SIF file of a published image, by its digest, with the login and proxies that Apptainer has."""
    of_now = image.recipe, workloads_digest(image)
    remedy = "Publish it again with this version, or use the version that published it."
    if (found.recipe, found.workloads) != of_now:
        raise BuildError(f"{found.reference} comes from another version's recipe or scripts.", remedy=remedy)
    with workplace() as folder:
        say(f"{image.tag}: making a SIF file from {found.reference.pullable}")
        plain = ["--no-https"] if is_local(found.reference.repository) else []
        made = built(image, folder, f"docker://{found.reference.pullable}", *plain, variables=os.environ)
        labels = labels_of(made)
        if (labels.get("rosetta.recipe"), labels.get("rosetta.workloads")) != of_now:
            raise BuildError(f"{found.reference} is not what {LOCK} says.", "Its labels name another recipe.", remedy)
        return kept(made, found.built, labels, found.reference.digest)


def built(
    image: Image, folder: Path, source: str, *words: str, variables: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Have Apptainer build a SIF file in a folder; returns its path. Raises BuildError, EngineError."""
    command = ["build", "--disable-cache", f"--mksquashfs-args={PACKING}", *words, SIF, source]
    own = {**variables, "APPTAINER_TMPDIR": str(folder), "APPTAINER_CACHEDIR": str(folder)}
    done = run(command, folder, own)
    if done.returncode != 0:
        tail = without_secrets("\n".join(done.stderr.splitlines()[-12:]))
        raise BuildError(f"Apptainer could not make a SIF file of {image.tag}.", tail)
    return folder / SIF


def labels_of(path: Path) -> dict[str, str]:
    """Return the labels of a SIF file; raises BuildError."""
    done = run(["inspect", "--json", path.name], path.parent, {})
    try:
        labels = json.loads(done.stdout)["data"]["attributes"]["labels"]
        return {str(name): str(value) for name, value in labels.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BuildError(f"Apptainer can't tell the labels of {path}.", done.stderr[-300:]) from None


def run(words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run Apptainer in a folder; raises EngineError if it is missing."""
    own = {name: os.environ[name] for name in (*KEPT, *OWN) if name in os.environ}
    try:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=folder,
            env={**variables, **own},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise EngineError("The command 'apptainer' is missing.", remedy="Install Apptainer 1.1 or newer.") from None


def kept(made: Path, image_id: str, labels: Mapping[str, str], source: str) -> Sif:
    """Move a new SIF file to its place."""
    sif = Sif(image_id, dict(labels), source, made.stat().st_size)
    made.replace(sif.path)
    return sif

"""Image archives from others: read once into a private copy, and rewritten from what was read.

Two programs may read the same archive differently: which of two members with one name counts, what ./manifest.json
is, whether "repotags" is "RepoTags". So the engine never sees the archive, only one of ours that has one image under
one name.
"""

import hashlib
import io
import json
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from orchestrator.errors import DiskError, ResultError
from orchestrator.system.regular_files import open_regular
from orchestrator.system.terminal import plain

LARGEST_ARCHIVE = 64 * 2**30
LARGEST_JSON = 4 * 2**20
"""Bytes of a file that describes an image."""

MOST_MEMBERS, MOST_LAYERS = 10_000, 256
CHUNK = 2**20
MAKE = "Make it with 'rosetta images save'."

TAG = re.compile(
    r"rosetta/(?!(?:orchestrator|probe|labelled|keeper):)[a-z0-9]+(?:[._-]+[a-z0-9]+)*:[A-Za-z0-9_][\w.-]{0,127}", re.A
)
"""Images that may be loaded: those of frameworks, but none that runs with the engine's socket or is a base."""

KEYS = {"Config", "RepoTags", "Layers", "LayerSources", "Parent"}
"""The keys that engines write about an image in manifest.json."""


@dataclass(frozen=True)
class Archived:
    """An image in a copy that nobody else can change: its one ``tag``, its configuration, and its layers' members."""

    tag: str
    config: bytes
    diff_ids: Sequence[str]
    layers: Sequence[tarfile.TarInfo]
    copy: tarfile.TarFile

    @property
    def id(self) -> str:
        """The engine's id for it: the checksum of its configuration."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        """Yield an archive of only this image, in the format that engines of every age accept."""
        name = f"{self.id.removeprefix('sha256:')}.json"
        layers = [f"{number:03d}/layer.tar" for number in range(len(self.layers))]
        yield from packed(name, len(self.config), io.BytesIO(self.config))
        for place, member in zip(layers, self.layers, strict=True):
            content = self.copy.extractfile(member)
            assert content is not None  # it is a plain file
            yield from packed(place, member.size, content)
        manifest = json.dumps([{"Config": name, "RepoTags": [self.tag], "Layers": layers}]).encode()
        yield from packed("manifest.json", len(manifest), io.BytesIO(manifest))
        yield b"\0" * 2 * tarfile.BLOCKSIZE


def packed(name: str, size: int, content: IO[bytes]) -> Iterator[bytes]:
    """Yield one file of an archive in chunks."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    yield member.tobuf(tarfile.GNU_FORMAT)
    while chunk := content.read(CHUNK):
        yield chunk
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


@contextmanager
def opened(path: Path, digest: str) -> Iterator[Archived]:
    """Yield the image in an archive with this sha256; raises ResultError for anything else, DiskError without room."""
    with tempfile.TemporaryFile() as copy:
        found = copied(path, copy)
        if found != digest:
            raise ResultError(f"{path} does not match SHA256SUMS.", f"Its sha256 is {found}.", "Copy it again.")
        copy.seek(0)
        try:
            with tarfile.open(fileobj=cast(IO[bytes], InPieces(copy)), mode="r:") as archive:
                yield image_in(archive)
        except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ResultError(
                f"{path} is not an archive of one image of Rosetta Matrix.", f"{plain(str(error))[:300]}."
            ) from None


class InPieces:
    """A file that is only read in pieces: ``tarfile`` would take a header of gigabytes into memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._read, self._seek, self.tell = file.read, file.seek, file.tell

    def seek(self, place: int) -> int:
        """Go to a place; raises ValueError for one that no archive has, at which the system would fail."""
        if place > LARGEST_ARCHIVE:
            raise ValueError("it has a member larger than an image may have")
        return self._seek(place)

    def read(self, size: int) -> bytes:
        """Return the next bytes; raises ValueError for more than any piece of an image's archive has."""
        if size > LARGEST_JSON:
            raise ValueError("it has a header larger than an image may have")
        return self._read(size)


def copied(path: Path, copy: IO[bytes]) -> str:
    """Copy an archive to where nobody else can change it; returns its sha256."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if file.tell() > LARGEST_ARCHIVE:
                    raise ResultError(f"{path} is larger than an image may be.")
                write(copy, chunk)
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.") from None
    return digest.hexdigest()


def write(copy: IO[bytes], chunk: bytes) -> None:
    """Add to a copy; raises DiskError."""
    try:
        copy.write(chunk)
    except OSError as error:
        raise DiskError(
            f"There is no room for a copy of the archive in {tempfile.gettempdir()}: {error.strerror}.",
            remedy="Free some space, or set TMPDIR to a folder on a larger disk.",
        ) from None


def image_in(archive: tarfile.TarFile) -> Archived:
    """The one image in an archive; raises ValueError and what JSON of another form raises."""
    members = members_of(archive)
    (image,) = parsed(archive, members["manifest.json"])
    if not set(image) <= KEYS:
        raise ValueError(f"manifest.json has unknown keys: {sorted(set(image) - KEYS)}")
    (tag,) = image["RepoTags"]
    if not TAG.fullmatch(tag):
        raise ValueError(f"it holds {tag!r}, which can't be loaded from outside")
    if "index.json" in members:
        every = [one.get("annotations", {}) for one in parsed(archive, members["index.json"])["manifests"]]
        names = {name for one in every if (name := one.get("io.containerd.image.name"))}
        if names - {f"docker.io/{tag}"}:
            raise ValueError(f"it holds images of two names: {sorted(names)}")
    config = content_of(archive, members[image["Config"]])
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    layers = [members[name] for name in image["Layers"]]
    if not 0 < len(layers) == len(diff_ids) <= MOST_LAYERS:
        raise ValueError("its layers do not match its configuration")
    return Archived(tag, config, diff_ids, layers, archive)


def members_of(archive: tarfile.TarFile) -> Mapping[str, tarfile.TarInfo]:
    """Return the files of an archive by names that are unambiguous for every reader; raises ValueError."""
    members: dict[str, tarfile.TarInfo] = {}
    for number, member in enumerate(archive):
        if number >= MOST_MEMBERS:
            raise ValueError("it has more members than an image may have")
        if member.isdir():
            continue
        name = member.name
        if member.type != tarfile.REGTYPE:
            raise ValueError(f"its member {name!r} is not a plain file")
        if member.issparse() or member.size < 0:  # a few bytes could stand for any number of them
            raise ValueError(f"its member {name!r} is not as large as it says")
        if name != posixpath.normpath(name) or name.startswith(("/", "..")) or name.lower() in members:
            raise ValueError(f"its member {name!r} could be two files")
        members[name.lower()] = member
    return {member.name: member for member in members.values()}


def parsed(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    """Parse a JSON file of an archive, whose keys must differ even if case is ignored; raises ValueError."""
    return json.loads(content_of(archive, member), object_pairs_hook=once)


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose keys are the same to case-sensitive and case-insensitive readers."""
    if len({key.lower() for key, _ in pairs}) < len(pairs):
        raise ValueError(f"duplicate key among {sorted(key for key, _ in pairs)}")
    return dict(pairs)


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the content of a small file of an archive; raises ValueError for a larger one or what is no file."""
    content = archive.extractfile(member) if member.size <= LARGEST_JSON else None
    if content is None:
        raise ValueError(f"{member.name} is not a file of a plausible size")
    return content.read()

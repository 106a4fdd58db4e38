"""Convert ChestX-ray14, from the NIH's archives or a folder with some of its images, to arrays that cells can map.

Each image becomes one channel of bytes, since an X-ray's three are equal: 264 × 264 for training, and from that
224 × 224 for validation and test. Archives are fetched one after the other and deleted once converted, so that the
45 GB are never on the disk at once.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.data.downloads import below, bring, is_url
from orchestrator.data.files import Content, File, checksum
from orchestrator.errors import DataError, DiskError
from orchestrator.system.terminal import Say

if TYPE_CHECKING:
    import numpy as np

NAME = "chestxray14"
TERMS = "free to use; cite X. Wang et al.: ChestX-ray8, CVPR 2017, and acknowledge the NIH Clinical Center"
FOLDER = "ChestX-ray14"
"""The folder in a mirror with ``Data_Entry_2017.csv`` and ``images/``, or the archives as the NIH names them."""

PRETRAINED = "pretrained"
"""The folder beside the arrays for ImageNet weights of the libraries' hubs, where scripts look for them."""

IMAGES, PATIENTS = 112_120, 30_805
SPLIT = {"train": 21_563, "validation": 21_563 + 3_080, "test": PATIENTS}
"""The last patient of each part: 70, 10 and 20 % of them by their numbers, as published; not the NIH's own split."""

STORED, TESTED = 264, 224
"""Pixels on a side: of training images, and of the others, which are not cropped any more."""

LISTS = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
"""The list of images and findings: that of the published runs first. The revision of 2020 differs in 181 images."""

LARGEST_ARCHIVE = 5_000_000_000
"""Bytes, more than any archive has; the NIH publishes checksums, not sizes."""

LARGEST_IMAGE = 20_000_000
"""Most bytes of a PNG: an original has half a megabyte."""

ARCHIVES = tuple(
    File(f"images_{number:03d}.tar.gz", (Content(md5, LARGEST_ARCHIVE),), f"https://nihcc.box.com/shared/static/{key}")
    for number, (key, md5) in enumerate(
        (
            ("vfk49d74nhbxq3nqjg0900w5nvkorp5c.gz", "fe8ed0a6961412fddcbb3603c11b3698"),
            ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1.gz", "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
            ("f1t00wrtdk94satdfb9olcolqx20z2jp.gz", "2301d03bde4c246388bad3876965d574"),
            ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg.gz", "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
            ("v5e3goj22zr6h8tzualxfsqlqaygfbsn.gz", "1861f3cd0ef7734df8104f2b0309023b"),
            ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l.gz", "456b53a8b351afd92a35bc41444c58c8"),
            ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n.gz", "1075121ea20a137b87f290d6a4a5965e"),
            ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j.gz", "b61f34cec3aa69f295fbb593cbd9d443"),
            ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj.gz", "442a3caa61ae9b64e61c561294d1e183"),
            ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p.gz", "09ec81c4c31e32858ad8cf965c494b74"),
            ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze.gz", "499aefc67207a5a97692424cf5dbeed5"),
            ("ioqwiy20ihqwyr8pf4c24eazhh281pbu.gz", "dc9fda1757c2de0032b63347a7d2895c"),
        ),
        1,
    )
)
"""The NIH's twelve archives with their published MD5 checksums."""


@dataclass(frozen=True)
class Entry:
    """An image of the list: its part of the set, its row in the part's array, its findings."""

    part: str
    row: int
    findings: tuple[str, ...]


def fetch(folder: Path, desk: Path, mirror: str | None, say: Say) -> None:
    """Fill ``folder`` with the arrays unless they are there; ``desk`` holds partial data.

    Raises DataError without the list of findings, for an archive with a wrong checksum, or for an unreadable image;
    DiskError for lack of room.
    """
    if (folder / "index.json").is_file():
        return
    say(f"{NAME}: {TERMS}")
    desk.mkdir(parents=True, exist_ok=True)
    source = Path(mirror).expanduser() / FOLDER if mirror and not is_url(mirror) else None
    listed, text = read_list(source)
    images = sorted((source / "images").glob("*.png")) if source and (source / "images").is_dir() else []
    there = {path.name for path in images if path.name in listed}
    entries = places(listed, there if images else set(listed))
    require_room(desk, entries, 0 if images else LARGEST_ARCHIVE)
    arrays = Arrays(desk / "arrays", entries)
    if images:
        arrays.take(((path.name, path.read_bytes()) for path in images if path.name in there), say)
    else:
        for archive in ARCHIVES:
            take_archive(archive, arrays, desk / "incoming", mirror, say)
    arrays.finish(folder, hashlib.sha256(text).hexdigest())
    shutil.rmtree(desk / "incoming", ignore_errors=True)
    if len(entries) < IMAGES:
        say(f"{NAME}: {len(entries):,} of {IMAGES:,} images: only part of the set, so its runs are marked as shortened")


def digest(folder: Path) -> str:
    """Return one sha256 of the arrays' content; empty if there are none."""
    index = folder / "index.json"
    return hashlib.sha256(index.read_bytes()).hexdigest() if index.is_file() else ""


def sums(folder: Path) -> dict[str, str]:
    """Return the sha256 that each array had when it was made, by file name; empty if there are none."""
    index = folder / "index.json"
    return dict(json.loads(index.read_text(encoding="utf-8"))["sha256"]) if index.is_file() else {}


def weights(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of ImageNet weights that lie beside the arrays, by its path there.

    A run that finds its library's starts from it: so these files belong to what a cell reads, like the arrays.
    """
    found = sorted(path for path in (folder / PRETRAINED).glob("[!.]*") if path.is_file())
    return {f"{PRETRAINED}/{path.name}": sum_of(path, *stamp(path)) for path in found}


def stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and the time of its last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@cache
def sum_of(path: Path, _size: int, _changed: int) -> str:
    """Return the sha256 of a file, which is hashed once while its stamp stays the same."""
    return checksum(path)


def read_list(source: Path | None) -> tuple[Mapping[str, tuple[int, tuple[str, ...]]], bytes]:
    """Return each listed image's patient and findings, and the list's bytes; raises DataError if there is no list."""
    paths = [source / name for name in LISTS] if source else []
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DataError(
            f"The list of images and findings, {LISTS[0]}, is missing.",
            "The NIH offers it for download in a browser only: https://nihcc.app.box.com/v/ChestXray-NIHCC.",
            f"Put it into a folder {FOLDER} and set ROSETTA_DATA_MIRROR to the folder above.",
        )
    text = path.read_bytes()
    rows = csv.DictReader(io.StringIO(text.decode("utf-8-sig")))
    try:
        found = {row["Image Index"]: (int(row["Patient ID"]), tuple(row["Finding Labels"].split("|"))) for row in rows}
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not the NIH's list: {error!r}.") from None
    if not found or any(not 1 <= patient <= PATIENTS for patient, _ in found.values()):
        raise DataError(f"{path} is not the NIH's list: its patients are not numbered 1 to {PATIENTS:,}.")
    return found, text


def places(listed: Mapping[str, tuple[int, tuple[str, ...]]], wanted: Iterable[str]) -> Mapping[str, Entry]:
    """Return where each wanted image goes, by name: patients are split without shuffling, images keep their order."""
    counts = dict.fromkeys(SPLIT, 0)
    entries = {}
    for name in sorted(wanted):
        patient, findings = listed[name]
        part = next(part for part, last in SPLIT.items() if patient <= last)
        entries[name] = Entry(part, counts[part], findings)
        counts[part] += 1
    return entries


def side(part: str) -> int:
    """Return the pixels on a side of a part's images."""
    return STORED if part == "train" else TESTED


def require_room(desk: Path, entries: Mapping[str, Entry], archive: int) -> None:
    """Raise DiskError if the disk has no room for the arrays and one archive."""
    needed = sum(side(entry.part) ** 2 for entry in entries.values()) + archive
    free = shutil.disk_usage(desk).free
    if free < needed:
        raise DiskError(
            f"There is no room for the data set {NAME} in {desk.parent}.",
            f"It needs {needed:,} bytes, and {free:,} are free.",
            remedy="Free some space, or set ROSETTA_CACHE to a folder on a larger disk.",
        )


def take_archive(archive: File, arrays: "Arrays", incoming: Path, mirror: str | None, say: Say) -> None:
    """Fetch one archive, convert its images and remove it; one whose images are there already is skipped."""
    if archive.path in arrays.sources:
        return
    address = below(mirror, f"{FOLDER}/{archive.path}") if mirror else archive.url
    if mirror and not is_url(mirror) and not Path(address).is_file():
        address = archive.url
    path = incoming / archive.path
    say(f"{NAME}: {archive.path}")
    bring(archive, path, address, say)
    arrays.take(members(path, arrays.entries), say)
    arrays.note(archive.path)
    path.unlink()


def members(path: Path, wanted: Mapping[str, Entry]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the wanted images in an archive. Nothing else of it is used: no path, link or mode."""
    import tarfile

    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isreg() and name in wanted and member.size <= LARGEST_IMAGE:
                    content = archive.extractfile(member)
                    assert content is not None
                    yield name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"The archive {path.name} can't be unpacked.", f"{error}.") from None


class Arrays:
    """The arrays being made; ``sources`` names the archives whose images are all in them."""

    def __init__(self, folder: Path, entries: Mapping[str, Entry]) -> None:
        import numpy as np

        self.folder, self.entries = folder, entries
        plan = hashlib.sha256("".join(f"{name} {entry}\n" for name, entry in entries.items()).encode()).hexdigest()
        self._progress = folder / "progress.json"
        known = json.loads(self._progress.read_text(encoding="utf-8")) if self._progress.is_file() else {}
        if known.get("plan") != plan:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            known = {"plan": plan, "sources": [], "images": 0}
        self._known: dict[str, Any] = known
        counts = {part: sum(entry.part == part for entry in entries.values()) for part in SPLIT}
        self._open = {
            part: np.lib.format.open_memmap(
                folder / f"{part}.npy",
                mode="r+" if (folder / f"{part}.npy").is_file() else "w+",
                dtype=np.uint8,
                shape=(count, side(part), side(part)),
            )
            for part, count in counts.items()
            if count
        }
        if len(self._open) < len(SPLIT):
            raise DataError(f"{NAME} must have images of each part: {', '.join(SPLIT)}.")

    @property
    def sources(self) -> list[str]:
        """The finished archives."""
        return list(self._known["sources"])

    def note(self, source: str) -> None:
        """Record one more finished archive."""
        for array in self._open.values():
            array.flush()
        self._known["sources"].append(source)
        self._progress.write_text(json.dumps(self._known), encoding="utf-8")

    def take(self, images: Iterable[tuple[str, bytes]], say: Say) -> None:
        """Convert images into their rows, on all cores."""
        with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for chunk in chunks(images, 512):
                names, contents = zip(*chunk, strict=True)
                sizes = [side(self.entries[name].part) for name in names]
                for name, pixels in zip(names, pool.map(convert, names, contents, sizes), strict=True):
                    entry = self.entries[name]
                    self._open[entry.part][entry.row] = pixels
                self._known["images"] += len(chunk)
                say(f"{NAME}: {self._known['images']:,} of {len(self.entries):,} images converted")

    def finish(self, folder: Path, listed: str) -> None:
        """Move everything into place, the index last; raises DataError if a listed image is missing."""
        import numpy as np

        from orchestrator.cell.parameters import parameters

        if self._known["images"] != len(self.entries):
            shutil.rmtree(self.folder)
            raise DataError(f"{self._known['images']:,} images were found instead of the {len(self.entries):,} listed.")
        findings = next(known["findings"] for known in parameters().values() if known["dataset"] == NAME)
        for part in SPLIT:
            rows = sorted((e for e in self.entries.values() if e.part == part), key=lambda entry: entry.row)
            labels = np.array([[name in entry.findings for name in findings] for entry in rows], np.uint8)
            np.save(self.folder / f"{part}.labels.npy", labels)
            self._open.pop(part).flush()
        self._progress.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        sums = {}
        for path in sorted(self.folder.glob("*.npy")):
            sums[path.name] = checksum(path)
            path.chmod(0o644)  # cells run as another user
            path.replace(folder / path.name)
        folder.chmod(0o755)
        index = {"images": len(self.entries), "list": listed, "sha256": sums}
        draft = folder / "index.partial"
        draft.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(folder / "index.json")
        shutil.rmtree(self.folder, ignore_errors=True)


def chunks(images: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the images in lists of ``size``."""
    chunk = []
    for image in images:
        chunk.append(image)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def convert(name: str, content: bytes, size: int) -> "np.ndarray[Any, Any]":
    """Return an original, grey or RGBA, as bytes (size, size): resampled bilinearly to 264, then to less if asked."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if max(image.size) > 4096:
                raise ValueError(f"it has {image.size[0]} × {image.size[1]} pixels")
            small = image.convert("L").resize((STORED, STORED), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"The image {name} can't be read.", f"{error}.") from None
    return np.asarray(small if size == STORED else small.resize((size, size), Image.Resampling.BILINEAR))

"""Does an image get the same digest twice? Builds CPU images two times from cold caches and compares their layers.

    python benchmarks/twice.py [IMAGE]...

Prints a line for each image, as the table in docs/publish.md; without names, for all of them, which takes about two
hours. The second time the clock of the programs in the build says tomorrow and the machine has another name. Where
layers differ, the files that do are named below the line. The images are removed again. Needs Docker, and Debian's
package libfaketime, which it takes into an image of its own.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

if TYPE_CHECKING:
    from orchestrator.images.image import Image
    from orchestrator.images.sources import Sources

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
TOMORROW = f"""
FROM BASE AS with-the-package
RUN apt-get update && apt-get install -y --no-install-recommends libfaketime
FROM BASE
COPY --from=with-the-package {LIBRARY} /faketime/
ENV LD_PRELOAD=/faketime/libfaketime.so.1 FAKETIME=+1d NO_FAKE_STAT=1
"""
"""A base on which every program's clock says tomorrow. The times of files are the kernel's, as always."""

CACHE = "type=cache,target=/root/.cache/pip"
MOST_NAMES = 8
"""Files that are named of a layer that differs; more are counted."""


@dataclass(frozen=True)
class Twice:
    """An image that was built twice: how many layers of its own it has, and what differs in those that do."""

    layers: int
    differences: list[str]


def main(names: list[str]) -> None:
    """Print the table."""
    from orchestrator.images.image import every_image

    print("| image | layers of its own | the same twice |\n| --- | ---: | --- |")
    for image in every_image():
        if image.name in names or (not names and image.platform == "cpu" and not image.spec.unverified):
            found = twice(image)
            print(f"| {image.name} | {found.layers} | {'no' if found.differences else 'yes'} |", flush=True)
            for line in found.differences:
                print(f"    {line}", flush=True)


def twice(image: "Image", sources: "Sources | None" = None, again: "Sources | None" = None) -> Twice:
    """Build an image two times and compare what lies on its base; ``again`` are the sources of the second time."""
    tags = [f"rosetta-twice/{image.name}:{uuid.uuid4().hex}" for _ in range(3)]
    first, second, base = tags
    try:
        command = ["docker", "buildx", "build", "--builder=default", "--quiet", "--tag", base, "-"]
        text = TOMORROW.replace("BASE", image.spec.base)
        subprocess.run(command, input=text.encode(), check=True, stdout=subprocess.DEVNULL)
        build(image, first, sources)
        tomorrow = {"contexts": {image.spec.base: f"docker-image://{base}"}}
        build(image, second, again or sources, tomorrow, host="elsewhere")
        mine = layers(first)[len(layers(image.spec.base)) :]
        other = layers(second)[len(layers(base)) :]
        return Twice(len(mine), [] if mine == other else list(compared(first, second, len(mine))))
    finally:
        subprocess.run(["docker", "image", "rm", *tags], check=False, capture_output=True)


def build(
    image: "Image", tag: str, sources: "Sources | None", changes: Mapping[str, Any] = {}, host: str = "here"
) -> None:
    """Build an image from nothing: no layer of the engine's, nothing that pip has downloaded or built before."""
    from orchestrator.images.bakefile import bake
    from orchestrator.images.building import run_bake

    file = bake([image], sources)
    target = file["target"][image.name]
    target["contexts"] |= changes.get("contexts", {})
    target["args"]["BUILDKIT_SANDBOX_HOSTNAME"] = host
    text = target["dockerfile-inline"].replace(CACHE, CACHE.replace("cache,", f"cache,id={uuid.uuid4().hex},"))
    run_bake({**file, "target": {image.name: {**target, "dockerfile-inline": text, "tags": [tag], "no-cache": True}}},
             lambda line: print(line, file=sys.stderr, flush=True))  # fmt: skip


def layers(tag: str) -> list[str]:
    """The digests of an image's layers, not compressed."""
    command = ["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", tag]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def compared(first: str, second: str, count: int) -> Iterator[str]:
    """What differs in the last ``count`` layers of two images, a line for each layer that does."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (list(saved_layers(tag, Path(folder), count)) for tag in (first, second))
        for number, pair in enumerate(zip(one, other, strict=True), 1):
            before, after = (entries(path) for path in pair)
            names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
            if names:
                more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
                shown = (f"{name} ({what(before.get(name), after.get(name))})" for name in names[:MOST_NAMES])
                yield f"layer {number}: {', '.join(shown)}{more}"


def saved_layers(tag: str, folder: Path, count: int) -> Iterator[Path]:
    """The last layers of an image as files."""
    path = folder / f"{uuid.uuid4().hex}.tar"
    subprocess.run(["docker", "save", "--output", path, tag], check=True)
    with tarfile.open(path) as archive:
        (manifest,) = json.load(opened(archive, "manifest.json"))
        for name in manifest["Layers"][-count:]:
            place = folder / f"{uuid.uuid4().hex}.layer"
            with place.open("wb") as file, opened(archive, name) as content:
                while piece := content.read(2**20):
                    file.write(piece)
            yield place


def opened(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A member that is there."""
    file = archive.extractfile(name)
    assert file is not None, name
    return file


Entry = dict[str, Any]


def entries(layer: Path) -> dict[str, Entry]:
    """Everything in a layer by its name: what it is, its owner, its time, the sum of its content."""
    found = {}
    with tarfile.open(layer) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            content = hashlib.file_digest(file, "sha256").hexdigest() if file else member.linkname  # type: ignore[arg-type]
            kind = {"type": member.type, "mode": member.mode, "owner": (member.uid, member.gid)}
            found[member.name] = {**kind, "time": member.mtime, "content": content}
    return found


def what(before: Entry | None, after: Entry | None) -> str:
    """In what an entry differs."""
    if before is None or after is None:
        return "only once"
    return ", ".join(name for name in before if before[name] != after[name])


if __name__ == "__main__":
    main(sys.argv[1:])

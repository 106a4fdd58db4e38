"""What the CPU images are made of: their sizes, what they share with their base, and what should not be left in them.

    python benchmarks/images.py

A line for each image that is on the engine, as the table in docs/platforms.md. Compilers are looked for by their
names among all executable files, caches where apt, pip and conda have theirs. Needs `rosetta build --only '*/*/cpu'`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
LEFT = r"""
find / -xdev -type f -perm /111 -regextype posix-extended \
    -regex '.*/([a-z0-9_]+-linux-gnu-)?(gcc|g\+\+|cc1|cc1plus|clang|gfortran|nvcc|ptxas|rustc)(-[0-9.]+)?' 2>/dev/null
find /var/lib/apt/lists /var/cache/apt /root/.cache /tmp/.cache /opt/conda/pkgs -type f ! -name lock 2>/dev/null
true
"""
"""Prints compilers and the files of caches, a path a line."""


def main() -> None:
    """Print the table."""
    from orchestrator.images.image import every_image

    print("| image | size | of it the base | left in it |\n| --- | ---: | ---: | --- |")
    for image in every_image():
        found = inspected(image.tag) if image.platform == "cpu" else None
        if found:
            base = inspected(image.spec.base)
            shared = f"{base['Size'] / 1e6:,.0f} MB" if base and shares(found, base) else "–"
            names = ", ".join(sorted({Path(path).name for path in left_in(found["Id"])})) or "nothing"
            print(f"| {image.name} | {found['Size'] / 1e6:,.0f} MB | {shared} | {names} |", flush=True)


def inspected(tag: str) -> dict[str, Any] | None:
    """What the engine knows of an image, None if it does not have it."""
    done = subprocess.run(["docker", "image", "inspect", tag], capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found[0] if found else None


def shares(image: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether an image begins with all the layers of another."""
    layers: list[str] = base["RootFS"]["Layers"]
    return bool(image["RootFS"]["Layers"][: len(layers)] == layers)


def left_in(image: str) -> list[str]:
    """Paths of compilers and of what is in caches."""
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", LEFT]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    main()

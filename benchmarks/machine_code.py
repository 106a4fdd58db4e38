"""What orchestrator/images/machine_code.py finds in wheels, against NVIDIA's cuobjdump, and what it says of our images.

    python benchmarks/machine_code.py [--only REGEX] [--older PATH] [--wheels FOLDER]

Downloads the wheels with device code that the GPU images pin, and a few of other times: 20 GB, which FOLDER keeps. Of
cuobjdump it takes the one on PyPI, and where that refuses a library for its old architectures the one at PATH, as of
CUDA 9.1: `apt-get download nvidia-cuda-toolkit` on Ubuntu 18.04, then `dpkg -x`. Ends with 1 if anything differs.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from orchestrator.images import architectures, machine_code
from orchestrator.images.architectures import Scan, Support

CUOBJDUMP = "nvidia-cuda-cuobjdump==13.5.37"
DEVICE_CODE = re.compile(
    r"(cntk-gpu|cupy-|jax-cuda|mxnet-cu|tensorflow|torch|triton|nvidia-(?!cuda-(cccl|crt|nvcc)|nvvm)).*"
)
OTHERS = (
    ("cupy-cuda92==7.8.0", "3.6"),
    ("mxnet-cu112==1.9.1", "3.11"),
    ("cupy-cuda12x==14.2.0", "3.11"),
)
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]
PLATFORMS += [f"manylinux{name}_x86_64" for name in ("2014", "2010", "1")]

CARDS = {
    "K80": (3, 7), "P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "A100": (8, 0), "A10G, 3090": (8, 6),
    "L40S, 4090": (8, 9), "H100, H200": (9, 0), "B200": (10, 0), "RTX 5090": (12, 0),
}  # fmt: skip
MARKS = {Support.NATIVE: "✓", Support.COMPILES: "compiles", Support.UNKNOWN: "?", Support.MISSING: "–"}


@dataclass(frozen=True)
class Wheel:
    """A wheel as a lock pins it, for a version of Python."""

    requirement: str
    python: str


@dataclass(frozen=True)
class Compared:
    """What was found in a wheel: by us, how many libraries cuobjdump was asked about, which one, and what differs."""

    scan: Scan
    asked: int
    tool: str
    differences: tuple[str, ...]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="wheels whose name==version has this")
    parser.add_argument("--older", type=Path, help="a cuobjdump of CUDA 9.1")
    parser.add_argument("--wheels", type=Path, help="where wheels are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.wheels or Path(temporary)
        tools = [cuobjdump(folder, Path(temporary)), *filter(None, [options.older])]
        images = pinned()
        wheels = dict.fromkeys(
            [*(wheel for pins in images.values() for wheel in pins), *(Wheel(*each) for each in OTHERS)]
        )
        print("| wheel | libraries | machine code | PTX | cuobjdump | same |\n| --- | ---: | --- | --- | --- | --- |")
        compared = {}
        for wheel in sorted(wheels, key=lambda wheel: wheel.requirement):
            if options.only.search(wheel.requirement):
                found = compared[wheel] = compare(download(wheel, folder), tools)
                if found.scan.libraries or found.scan.unreadable or found.differences:
                    print(line(wheel, found), flush=True)
    print_images(images, compared)
    sys.exit(any(found.differences for found in compared.values()))


def pinned() -> dict[str, list[Wheel]]:
    """The wheels with device code of each GPU image."""
    images = {}
    for lock in sorted((ROOT / "images/locks").glob("*-cuda*.txt")):
        if not lock.name.endswith(".build.txt"):
            framework = yaml.safe_load((ROOT / "images" / f"{lock.stem.rpartition('-')[0]}.yaml").read_text())
            pins = re.findall(r"^(\S+?)(?:\[.*\])?={2,3}(\S+)", lock.read_text(), re.MULTILINE)
            images[lock.stem] = [
                Wheel(f"{name}=={version}", framework["python"]) for name, version in pins if DEVICE_CODE.match(name)
            ]
    return images


def download(wheel: Wheel, folder: Path) -> Path:
    """Have pip fetch it, for its Python on a Linux of today, unless it is there."""
    name, _, version = wheel.requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        tag = f"cp{wheel.python.replace('.', '')}"
        abis = [tag, "abi3", "none", *([f"{tag}m"] if tag == "cp36" else [])]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", str(folder), "--implementation=cp", f"--python-version={wheel.python}"]
        command += [f"--abi={abi}" for abi in abis] + [f"--platform={platform}" for platform in PLATFORMS]
        subprocess.run([*command, f"{name}==={version}"], check=True)
    return next(folder.glob(pattern))


def cuobjdump(folder: Path, temporary: Path) -> Path:
    """NVIDIA's own, from PyPI."""
    with zipfile.ZipFile(download(Wheel(CUOBJDUMP, "3.11"), folder)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/bin/cuobjdump"))
        path = Path(archive.extract(name, temporary))
    path.chmod(0o755)
    return path


def compare(wheel: Path, tools: list[Path]) -> Compared:
    """Unpack the libraries of a wheel and ask both about each."""
    with tempfile.TemporaryDirectory(dir=wheel.parent) as temporary:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if ".so" in name])
        scan = Scan.model_validate(machine_code.scan(temporary))
        differences, used, asked = [], set(), 0
        for path in machine_code.libraries(temporary):
            name = str(Path(path).relative_to(temporary))
            said, tool = ask(path, tools)
            used.add(tool)
            asked += 1
            code = scan.libraries.get(name)
            # It lists machine code for a family without its letter.
            ours = ({each.rstrip("f") for each in code.binaries}, set(code.ptx)) if code else (set(), set())
            if said != ours and not (said is None and name in scan.unreadable):
                differences.append(f"{name}: {ours} here, {said} there")
    return Compared(scan, asked, ", ".join(sorted(used)), tuple(differences))


def ask(path: str, tools: list[Path]) -> tuple[tuple[set[str], set[str]] | None, str]:
    """The architectures with machine code and with PTX, and the version of the first cuobjdump that tells them."""
    for tool in tools:
        said = [listed(tool, path, kind) for kind in ("--list-elf", "--list-ptx")]
        if said[0] is not None and said[1] is not None:
            return (said[0], said[1]), release(tool)
    return None, "none"


def listed(tool: Path, path: str, kind: str) -> set[str] | None:
    """What it lists, or None if it refuses."""
    done = subprocess.run([tool, kind, path], capture_output=True, encoding="utf-8", errors="replace")
    said = done.stdout + done.stderr
    if re.search(r"does not contain device code|No (PTX|ELF) file found", said):
        return set()
    if done.returncode or "fatal" in said:
        return None
    return set(re.findall(r"\.sm_(\d+[af]?)\.(?:cubin|ptx)$", said, re.MULTILINE))


def release(tool: Path) -> str:
    """Its version: "13.5"."""
    said = subprocess.run([tool, "--version"], check=True, capture_output=True, text=True).stdout
    return str(re.findall(r"release (\d+\.\d+)", said)[-1])


def line(wheel: Wheel, found: Compared) -> str:
    """A line of the first table: the libraries with device code, of those that both were asked about."""
    codes = found.scan.libraries.values()
    same = "no: " + "; ".join(found.differences) if found.differences else "yes"
    if found.scan.unreadable:
        same += ", neither reads " + ", ".join(f"{path} ({why})" for path, why in found.scan.unreadable.items())
    cells = [
        wheel.requirement.replace("==", " "),
        f"{len(codes)} of {found.asked:,}",
        joined(name for code in codes for name in code.binaries),
        joined(name for code in codes for name in code.ptx),
        found.tool,
        same,
    ]
    return f"| {' | '.join(cells)} |"


def joined(names: Iterable[str]) -> str:
    """From old to new, or a dash."""
    return ", ".join(architectures.arranged(names)) or "–"


def print_images(images: dict[str, list[Wheel]], compared: dict[Wheel, Compared]) -> None:
    """The second table, of the images all of whose wheels were read, and below it why some don't run at once."""
    print(f"\n| image | {' | '.join(CARDS)} |\n| --- |{' --- |' * len(CARDS)}")
    reasons: list[str] = []
    for image, wheels in images.items():
        if all(wheel in compared for wheel in wheels):
            answers = marks(image, [compared[wheel].scan for wheel in wheels], reasons)
            print(f"| {image} | {' | '.join(answers)} |")
    print("\n" + "\n".join(dict.fromkeys(reasons)))


def marks(image: str, scans: list[Scan], reasons: list[str]) -> Iterator[str]:
    """A mark for each card; adds the reasons."""
    whole = Scan(
        libraries={path: code for scan in scans for path, code in scan.libraries.items()},
        unreadable={path: why for scan in scans for path, why in scan.unreadable.items()},
    )
    for capability in CARDS.values():
        answer = architectures.runs_on(whole, capability)
        if answer.reason:
            reasons.append(f"{image}: {re.sub(r' for sm_[0-9]+', '', answer.reason)}")
        yield MARKS[answer.support]


if __name__ == "__main__":
    main()

"""What can be seen of the images for GPUs where there is none: each is built, imported, read and run on the CPU.

    python benchmarks/gpu_images.py mxnet-cuda11 cntk-cuda9 [--keep] [--no-parity]

For each image, one after the other: it is built; its framework is imported with stubs in place of NVIDIA's driver,
which are made from the names that its libraries ask the driver for and answer "no device" (100) to each; its version,
its precision flags and how many operations it has registered are read; the loader resolves all of its libraries; its
machine code is read; and the parity of its libraries runs on the CPU inside it. Prints a line of docs/platforms.md for
each and removes what it has built. Needs gcc. Ends with 1 if anything is amiss.

The images of 2018 take CUDA from a stage whose sources may be out of reach. They are built on empty files of the right
names, under another tag, and run with stubs of these libraries too: what their framework computes on a GPU is not
proved by that, but all else is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from orchestrator.cell.quality import judge_parity
from orchestrator.images import architectures
from orchestrator.images.bakefile import bake
from orchestrator.images.building import build_images, inspect_images, run_bake
from orchestrator.images.definitions import cuda
from orchestrator.images.image import Image, every_image
from orchestrator.images.sources import Sources

PROBE = Path(__file__).with_name("gpu_probe.py")
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
ANSWERS = {
    "cuDriverGetVersion": "int cuDriverGetVersion(int *version) { *version = 13000; return 0; }",
    "nvmlErrorString": 'const char *nvmlErrorString(int code) { return "no device"; }',
    "cudaGetErrorString": 'const char *cudaGetErrorString(int code) { return "no device"; }',
    "cudaGetErrorName": 'const char *cudaGetErrorName(int code) { return "cudaErrorNoDevice"; }',
    "cudnnGetErrorString": 'const char *cudnnGetErrorString(int code) { return "no device"; }',
    "cudnnGetVersion": "unsigned long cudnnGetVersion(void) { return 7104; }",
}
"""Stubs that say more: an old driver is another complaint than none of its devices, and a text is no number."""
ON_A_CPU = {"ROSETTA_PLATFORM": "cpu", "THEANO_FLAGS": "device=cpu,openmp=True,blas.ldflags=-lopenblas"}
"""Variables by which libraries compute without a card: all but Theano find out themselves that there is none."""
STUBS = "/stubs"
WORKLOADS = ("cnn", "rnn")
PLUGINS = (
    "cntk/libs/libopencv_imgcodecs.so.*",  # CNTK's reader of images, which no script loads
    "cntk/libs/Cntk.DelayLoadedExtensions-*.so",
    "cntk/libs/Cntk.BinaryConvolution-*.so",
    "cntk/libs/Cntk.Deserializers.Image-*.so",
    "nvidia/*/libnvshmem_*",  # ways to reach other machines, each with libraries of its own
    "nvidia/*/nvshmem_*",
    "nvidia/*/libcufile_rdma.so.*",
    "triton/*/libcupti.so*",
    "tensorflow/contrib/nccl/*",  # TensorFlow's plugins that no script loads
    "tensorflow/contrib/tensorrt/*",
    "cupy/cutensor.*",  # an option of CuPy's, which no script asks for
    "cupy_backends/cuda/libs/cutensor.*",
)
"""Files that nothing loads here: the frameworks try them only where there is what they serve."""


@dataclass
class Findings:
    """What was seen of an image; ``amiss`` is what should not be."""

    image: Image
    size: int = 0
    imported: Mapping[str, Any] = field(default_factory=dict)
    files: int = 0
    scan: architectures.Scan | None = None
    parity: dict[str, str] = field(default_factory=dict)
    amiss: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """A line of docs/platforms.md."""
        seen = self.imported
        told = [str(seen.get("version", "no")), *(f"{k} {v}" for k, v in seen.get("precision", {}).items())]
        told += [f"{seen['operations']:,} operations"] if seen.get("operations") else []
        code = self.scan.libraries if self.scan else {}
        own = max(code, key=lambda path: (not architectures.NVIDIA.match(Path(path).name), code[path].size), default="")
        read = [f"{len(code)}: {Path(own).name} {', '.join(code[own].binaries)}"] if own else []
        read += [f"PTX {', '.join(code[own].ptx)}"] if own and code[own].ptx else []
        unread = [Path(path).name for path in self.scan.unreadable] if self.scan else []
        read += [f"not read: {', '.join(unread)}"] if unread else []
        parity = ", ".join(f"{cell} {what}" for cell, what in self.parity.items()) or "–"
        cells = [self.image.name.replace("-cuda", " cuda"), f"{self.size / 1e9:.2f} GB", "; ".join(told)]
        return f"| {' | '.join([*cells, f'{self.files:,} files', '; '.join(read) or 'none', parity])} |"


HEADER = """| image | size | imported | libraries resolved | machine code | parity on the CPU |
| --- | ---: | --- | --- | --- | --- |"""


def main() -> None:
    """Print the table."""
    images = {image.name: image for image in every_image()}
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+", choices=sorted(images), metavar="IMAGE")
    parser.add_argument("--keep", action="store_true", help="don't remove the images that this has built")
    parser.add_argument("--no-parity", action="store_true", help="don't train, which takes minutes")
    options = parser.parse_args()
    print(HEADER)
    amiss = []
    for name in options.names:
        found = examined(images[name], keep=options.keep, workloads=() if options.no_parity else WORKLOADS)
        print(found.line, flush=True)
        amiss += [f"{name}: {what}" for what in found.amiss]
    print("\n".join(amiss), file=sys.stderr)
    sys.exit(bool(amiss))


def examined(image: Image, *, keep: bool = True, workloads: Sequence[str] = WORKLOADS) -> Findings:
    """Build an image if it is not there, look at it and, unless ``keep``, remove it where it was built here."""
    if image.stage:
        return on_stand_ins(image, workloads)
    was_there = image.tag in inspect_images([image.tag])
    build_images([image], progress=lambda line: print(line, file=sys.stderr, flush=True))
    try:
        return look_at(image, image.tag, workloads)
    finally:
        if not (keep or was_there):
            subprocess.run(["docker", "image", "rm", image.tag], check=True, stdout=subprocess.DEVNULL)


def on_stand_ins(image: Image, workloads: Sequence[str]) -> Findings:
    """Build an image on stand-ins for its CUDA stage, look at it and remove it."""
    tag = f"rosetta-test/{image.framework.framework}:{image.platform}"
    with tempfile.TemporaryDirectory() as folder:
        build_on(stand_ins(Path(folder) / "cuda"), image, tag)
    try:
        return look_at(image, tag, workloads)
    finally:
        subprocess.run(["docker", "image", "rm", tag], check=True, stdout=subprocess.DEVNULL)


def stand_ins(folder: Path) -> Path:
    """Make a folder as ROSETTA_CUDA names it, full of empty files."""
    for platform, stage in cuda().stages.items():
        (folder / platform).mkdir(parents=True)
        for name in (*stage.toolkit, *stage.cudnn):
            (folder / platform / name).touch()
    return folder


def build_on(folder: Path, image: Image, tag: str) -> None:
    """Build on such a folder under a tag of its own: under its usual one it would pass for an image that works."""
    file = bake([image], replace(Sources.from_environment(), cuda=folder))
    file["target"][image.name]["tags"] = [tag]
    run_bake(file, lambda line: print(line, file=sys.stderr, flush=True))


def declared(image: Image) -> list[str]:
    """The names of the libraries that the image takes from its CUDA stage."""
    return [name for part in image.spec.cuda for name in getattr(image.stage, part)]


def look_at(image: Image, tag: str, workloads: Sequence[str]) -> Findings:
    """All that can be seen of an image that is there."""
    found = Findings(image, size=inspect_images([tag])[tag]["Size"])
    packages = f"/usr/local/lib/python{image.python}/site-packages"
    with tempfile.TemporaryDirectory() as folder:
        stubs = Path(folder)
        stubs.chmod(0o755)
        asked = json.loads(inside(tag, PROBE.read_text(), "symbols", packages, *declared(image)))
        make_stubs(stubs, asked)
        imported = inside(tag, PROBE.read_text(), "import", image.framework.framework, stubs=stubs)
        found.imported = json.loads(imported.splitlines()[-1])
        found.amiss += [found.imported["error"]] if "error" in found.imported else []
        missing: dict[str, list[str]] = json.loads(inside(tag, PROBE.read_text(), "resolve", packages, stubs=stubs))
        found.files = missing.pop("files")  # type: ignore[assignment]
        found.amiss += [
            f"{path} finds no {', '.join(names)}"
            for path, names in missing.items()
            if not any(fnmatch(path, plugin) for plugin in PLUGINS)
        ]
        found.scan = architectures.parse(inside(tag, architectures.SCRIPT.read_text()).encode())
        for library in image.framework.libraries if workloads else ():
            for workload in workloads:
                found.parity[f"{library} {workload}"] = said = parity(tag, library, workload, stubs)
                found.amiss += [f"{library} {workload}: {said}"] if said != "same model" else []
    return found


def make_stubs(folder: Path, symbols: Mapping[str, Sequence[str]]) -> None:
    """Libraries in place of the driver's, with these functions, all of which say that there is no device."""
    for library, names in symbols.items():
        source = folder / f"{library}.c"
        plain = (f"int {name}(void) {{ return {NO_DEVICE}; }}" for name in names if name not in ANSWERS)
        source.write_text("\n".join([*plain, *(ANSWERS[name] for name in names if name in ANSWERS)]) + "\n")
        options = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{library}"]
        if "-" not in library:  # CUDA's libraries call the version of their functions by their own names
            (folder / "versions").write_text(f"{library} {{ *; }};\n")
            options.append(f"-Wl,--version-script={folder / 'versions'}")
        subprocess.run(["gcc", *options, "-o", str(folder / library), str(source)], check=True)
        source.unlink()
    (folder / "versions").unlink(missing_ok=True)


def inside(tag: str, script: str, *arguments: str, stubs: Path | None = None) -> str:
    """What a script for Python prints inside an image; without network, with stubs where the loader finds them."""
    words = ["docker", "run", "--rm", "--interactive", "--network=none", "--user=10001:10001", *mounted(tag, stubs)]
    command = [*words, "--entrypoint=python", tag, "-", *arguments]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[:1]} in {tag}: {done.stderr[-2000:]}")
    return done.stdout


def mounted(tag: str, stubs: Path | None) -> Iterator[str]:
    """The words that put stubs into a container, before all else that its loader looks through."""
    if stubs:
        variables = dict(each.split("=", 1) for each in inspect_images([tag])[tag]["Config"]["Env"])
        path = ":".join(filter(None, [STUBS, variables.get("LD_LIBRARY_PATH", "")]))
        yield from (f"--volume={stubs}:{STUBS}:ro", f"--env=LD_LIBRARY_PATH={path}")
    yield "--env=OMP_NUM_THREADS=1"


def parity(tag: str, library: str, workload: str, stubs: Path) -> str:
    """How the parity of a library ends on the CPU of its image for GPUs: "same model", or what is wrong.

    As on a machine without a driver; with stubs if the library can't be loaded without them, as MXNet.
    """
    said = parity_with(tag, library, workload, None)
    return parity_with(tag, library, workload, stubs) if any(path.name in said for path in stubs.iterdir()) else said


def parity_with(tag: str, library: str, workload: str, stubs: Path | None) -> str:
    """The same, with stubs or without."""
    with tempfile.TemporaryDirectory() as results:
        Path(results).chmod(0o777)
        variables = [f"--env={name}={value}" for name, value in ON_A_CPU.items()]
        words = ["docker", "run", "--rm", "--network=none", *variables, *mounted(tag, stubs)]
        words += [f"--volume={results}:/results", tag, library, workload, "--parity", "--data=synthetic"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        documents = list(Path(results).glob("*.json"))
        if done.returncode != 0 or not documents:
            lines = done.stderr.strip().splitlines() or ["–"]  # R's last one says "Execution halted", and no more
            told = next((line for line in lines if ".so" in line), lines[-1])
            return f"ended with {done.returncode}: {told[:300]}"
        return judge_parity(workload, json.loads(documents[0].read_text())["parity"])[1] or "same model"


if __name__ == "__main__":
    main()

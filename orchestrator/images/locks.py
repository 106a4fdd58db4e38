"""Resolve an image's requirements into locks: every package, one version, the hashes of its files."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import BuildError
from orchestrator.images.definitions import frameworks
from orchestrator.images.image import Image
from orchestrator.images.sources import Sources
from orchestrator.system.addresses import without_secrets
from orchestrator.system.library_folders import PACKED
from orchestrator.system.text_files import read_text, write_text


def write_locks(framework: str, platform: str, upgrade: bool = False) -> list[Path]:
    """Resolve the requirements of an image into its locks: every package, one version, the hashes of its files.

    Versions that a lock already has are kept unless ``upgrade``. Needs uv.
    Raises BuildError.
    """
    image = Image(frameworks()[framework], platform)
    make_writable(image.framework.folder.locks)
    inputs = [image.spec.build] if image.spec.build else []
    for path, requirements in zip(image.locks, [*inputs, image.spec.requirements], strict=True):
        resolve(image, requirements, path, upgrade)
    return list(image.locks)


def make_writable(folder: Path) -> None:
    """Make the folder of the locks; raises BuildError if it belongs to the installed program or can't be written."""
    remedy = "Make the program's own locks in a checkout; for your own libraries: rosetta lock NAME --with DIR."
    if folder.is_relative_to(PACKED):
        raise BuildError(f"{folder} belongs to the installed program.", remedy=remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BuildError(f"Nothing can be written into {folder}.", f"{error.strerror}.", remedy) from None


def resolve(image: Image, requirements: Sequence[str], path: Path, upgrade: bool) -> None:
    """Have uv write one lock."""
    beside = Path(sys.executable).parent  # the environment need not be activated
    uv = shutil.which("uv", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if uv is None:
        raise BuildError("uv is not installed.", remedy="Install it: pip install uv; in a checkout: make dev.")
    sources = Sources.from_environment()
    command = [uv, "pip", "compile", "-", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--python-version", image.python, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--upgrade"] if upgrade else []
    built = path == image.lock_path != image.locks[0]
    pins = str(image.locks[0])
    command += ["--constraints", pins, "--build-constraints", pins] if built else ["--only-binary", ":all:"]
    if sources.wheels:
        command += ["--find-links", str(sources.wheels)]
    elif image.spec.extra_index and not image.spec.unlocked:
        command += ["--extra-index-url", image.spec.extra_index, "--index-strategy", "unsafe-best-match"]
    text = "\n".join(requirements)
    variables = {**os.environ, **({"SSL_CERT_FILE": str(sources.ca)} if sources.ca else {})}
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, path.name)
        if path.exists():  # its versions are kept
            shutil.copyfile(path, draft)
        command += ["--output-file", str(draft)]
        done = subprocess.run(command, input=text, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            what = f"The requirements of {image.name} could not be resolved."
            raise BuildError(what, without_secrets(done.stderr.strip()), remedy(done.stderr, image))
        made = read_text(draft, BuildError)
    name = image.framework.framework
    write_text(path, f"# All that images/{name}.yaml asks for, by 'rosetta lock {name}'.\n{made}")


REMEDIES: Sequence[tuple[str, str]] = (
    (r"there is no version of (\S+)", r"The index has no \1: correct the version in {file}."),
    (r"(\S+) was not found", r"The index has no \1: correct the name in {file}, or the index."),
    (r"ecause (\S+) has no .*?wheels", r"\1 is not made for Python {python}: correct one of them in {file}."),
    (r"and (\S+) depends on Python", r"\1 is not made for Python {python}: correct one of them in {file}."),
    (r"Failed to fetch", "Check the network, and the index that UV_INDEX_URL names, if it is set."),
)
"""Pattern in uv's message, and the remedy; the first match counts."""


def remedy(message: str, image: Image) -> str:
    """Return the remedy for requirements that could not be resolved."""
    message = " ".join(message.split())  # uv breaks lines where it likes
    found = next(((match, text) for pattern, text in REMEDIES if (match := re.search(pattern, message))), None)
    if found is None:
        return ""
    match, text = found
    return match.expand(text).format(
        file=image.framework.path if image.framework.is_own else f"images/{image.framework.framework}.yaml",
        python=image.python,
    )

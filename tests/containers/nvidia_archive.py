"""An archive of packages in the form of NVIDIA's, with stubs in place of the libraries: signed, and served on HTTP."""

import functools
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal


class Quiet(SimpleHTTPRequestHandler):
    """Does not print each request."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path, host: str) -> Iterator[str]:
    """The address of a folder for whoever reaches this host."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), functools.partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def package(folder: Path, name: str, version: str, files: Sequence[str]) -> Path:
    """A Debian package whose libraries lie where NVIDIA's do, each with a link, as theirs have them."""
    tree = folder / f"{name}-tree"
    libraries = tree / "usr/local/cuda/targets/x86_64-linux/lib"
    libraries.mkdir(parents=True)
    for file in files:
        (libraries / f"{file}.61").write_text(f"{file} of {name} {version}\n")
        (libraries / file).symlink_to(f"{file}.61")
    (tree / "DEBIAN").mkdir()
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\nDescription: a stub\n"
    (tree / "DEBIAN/control").write_text(control)
    path = folder / f"{name}_{version.replace('+', '_')}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)], check=True, capture_output=True)
    shutil.rmtree(tree)
    return path


def entry(path: Path, name: str, version: str) -> str:
    """What a list of packages says of one."""
    content = path.read_bytes()
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\nFilename: ./{path.name}\n"
        f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\nDescription: a stub\n"
    )


def gpg(home: Path, *words: str, text: str = "") -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode=loopback", "--passphrase=", *words]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def archive(folder: Path, home: Path, packages: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Fill a folder with packages ``NAME=VERSION`` and their libraries; returns the fingerprint of its key, key.pub."""
    home.mkdir(mode=0o700)
    gpg(home, "--quick-generate-key", "stub@example.org", "rsa3072", "sign", "never")
    (folder / "key.pub").write_text(gpg(home, "--armor", "--export"))
    entries = []
    for pin, files in packages:
        name, _, version = pin.partition("=")
        entries.append(entry(package(folder, name, version, files), name, version))
    listed = "\n".join(entries)
    (folder / "Packages").write_text(listed)
    digest, size = hashlib.sha256(listed.encode()).hexdigest(), len(listed)
    release = f"Origin: stubs\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest} {size} Packages\n"
    (folder / "InRelease").write_text(gpg(home, "--clearsign", text=release))
    told = gpg(home, "--with-colons", "--fingerprint").splitlines()
    return next(line.split(":")[9] for line in told if line.startswith("fpr:"))


def installers(folder: Path, toolkit: Sequence[str], cudnn: Sequence[str]) -> list[tuple[str, str]]:
    """Two files like those that NVIDIA publishes, by their names with their SHA-256: an installer, an archive."""
    inner = folder / "inner"
    installer(inner / "cuda-linux64-rel-1.run", {f"lib64/{name}": f"{name}\n".encode() for name in toolkit})
    content = {path.name: path.read_bytes() for path in inner.iterdir()}
    outer = installer(folder / "cuda_8.0_linux-run", content)
    archive = folder / "cudnn-8.0.tgz"
    write_tar(archive, {f"cuda/lib64/{name}": b"" for name in cudnn}, "w:gz")
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in (outer, archive)]


def installer(path: Path, files: dict[str, bytes]) -> Path:
    """A script that unpacks the archive behind its own text into the folder after --target, as makeself's do."""
    path.parent.mkdir(exist_ok=True)
    script = (
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in --target) to=$2; shift;; esac; shift; done\n"
        'mkdir -p "$to"\nsed "1,/^__ARCHIVE__$/d" "$0" | tar -x -C "$to"\nexit 0\n__ARCHIVE__\n'
    )
    packed = path.with_suffix(".tar")
    write_tar(packed, files, "w")
    path.write_bytes(script.encode() + packed.read_bytes())
    packed.unlink()
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: Literal["w", "w:gz"]) -> None:
    """Write an archive."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

"""Names of images in registries; those from results are not trusted, and checked character by character."""

import re
from dataclasses import dataclass

from orchestrator.errors import RegistryError, ResultError
from orchestrator.system.addresses import printable

LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
HOST = rf"(?:localhost|{LABEL}(?:\.{LABEL})+|{LABEL}(?=:))(?::\d{{1,5}})?"
PATH = r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
REGISTRY = re.compile(HOST + PATH)
REFERENCE = re.compile(rf"(?P<repository>{HOST}{PATH}):(?P<tag>{TAG})@(?P<digest>sha256:[0-9a-f]{{64}})")
ID = re.compile(r"sha256:[0-9a-f]{64}")
LONGEST = 400


@dataclass(frozen=True)
class ImageName:
    """An image in a registry: ``repository`` with its namespace, readable ``tag``, and the ``digest`` that counts."""

    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}@{self.digest}"

    @property
    def pullable(self) -> str:
        """The reference to pull: by digest alone, wherever the tag points now."""
        return f"{self.repository}@{self.digest}"


def parse(text: str) -> ImageName:
    """Parse a full reference; raises ResultError for anything else."""
    found = REFERENCE.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise ResultError(f"{text[:100]!r} is not an image in a registry, with tag and digest.")
    return ImageName(**found.groupdict())


def checked_registry(text: str) -> str:
    """Return HOST/NAMESPACE as it is; raises RegistryError for anything else."""
    if len(text) > LONGEST // 2 or not REGISTRY.fullmatch(text):
        raise RegistryError(
            f"{printable(text)[:100]!r} is not a registry.", remedy="Write it like ghcr.io/me or localhost:5000/me."
        )
    return text


def is_local(registry: str) -> bool:
    """Whether a registry is on this machine alone."""
    return re.split("[:/]", registry)[0] in ("localhost", "127.0.0.1")

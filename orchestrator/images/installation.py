"""An installation that is not ours, used like an image: a person's interpreter, or somebody else's image.

Its description comes from ``installation_probe.py``, which runs inside it, and is untrusted until parsed here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict, complaint, harmless
from orchestrator.errors import InstallationError, MatrixError
from orchestrator.images import installation_probe
from orchestrator.images.image import Image
from orchestrator.system.gpus import Version
from orchestrator.system.terminal import one_line

SCRIPT = Path(installation_probe.__file__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""Valid names of an installation: a folder of its results has that name."""

Model = TypeVar("Model", bound=Strict)
Text = Annotated[str, StringConstraints(max_length=installation_probe.LONGEST), AfterValidator(harmless)]
Whole = Annotated[int, Field(ge=0, le=2**31)]
Table = Annotated[dict[Text, Text], Field(max_length=installation_probe.MOST_PACKAGES)]


class Installed(Strict):
    """An interpreter: ``modules`` maps those of ours that it can find to their paths; ``cores`` it may use."""

    python: Text
    executable: Text
    prefix: Text
    cores: Whole
    modules: Table
    packages: Table
    variables: Table


class Facts(Strict):
    """A module's report on itself. None is unknown; ``error`` says why it can't be imported.

    ``cards`` counts the GPUs that it sees; ``switches`` are its active settings that cost time.
    """

    module: Text
    version: Text | None = None
    file: Text | None = None
    error: Text | None = None
    cuda: Text | None = None
    cudnn: Text | None = None
    onednn: bool | None = None
    blas: Text | None = None
    threads: Whole | None = None
    instructions: Text | None = None
    cards: Whole | None = None
    device: Text | None = None
    architectures: Annotated[list[Text], Field(max_length=64)] = []
    no_card_because: Text | None = None
    switches: Annotated[list[Text], Field(max_length=16)] = []


def read_installed(said: bytes, source: str) -> Installed:
    """Parse an interpreter's answer; raises InstallationError for anything that the probe would not print."""
    return read(said, Installed, source)


def read_facts(said: bytes, module: str, source: str) -> Facts:
    """Parse a module's answer; with no answer or an invalid one, the module counts as not importable."""
    try:
        facts = read(said, Facts, source)
    except InstallationError as error:
        return Facts(module=module, error=one_line(error.why or error.what)[: installation_probe.LONGEST])
    if facts.module != module:
        return Facts(module=module, error="it answered for another module")
    return facts


def read(said: bytes, model: type[Model], source: str) -> Model:
    """Parse an answer as a model, leaving out what a start-up script printed around it; raises InstallationError."""
    if not said.strip():
        raise InstallationError(f"{source} did not report what is installed.", "It ended without any output.")
    answer = next((line for line in reversed(said.splitlines()) if line.startswith(b"{")), said)
    try:
        return model.model_validate_json(answer, strict=True)
    except ValidationError as error:
        why = one_line(complaint(error, "its answer")[:300])
        raise InstallationError(f"{source} did not report what is installed.", why) from None


@dataclass(frozen=True)
class Installation(Image):
    """A framework as somebody has installed it; ``framework`` is the one of ours whose scripts measure it.

    ``label`` is the name that the user gave. ``told`` is its own description, a JSON object, which its results record.
    """

    label: str = ""
    told: str = "{}"

    @property
    def name(self) -> str:
        """Short and unique among what one command runs."""
        return f"{self.label}-{self.framework.framework}"

    @property
    def tag(self) -> str:
        """The label, which rows have in place of an image's tag."""
        return self.label

    @property
    def environment(self) -> Mapping[str, str]:
        """Empty: it brings its own."""
        return {}

    @property
    def needs_container(self) -> str:
        """Empty: it is there already."""
        return ""

    @cached_property
    def recipe(self) -> str:
        """Content hash of its own description, except for its location: 16 hexadecimal digits."""
        content = {name: value for name, value in json.loads(self.told).items() if name not in ELSEWHERE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a row that describe it."""
        return {
            "image": self.label,
            "recipe": self.recipe,
            "framework": self.framework.framework,
            "installation": self.told,
        }


ELSEWHERE = ("executable", "file", "machine_cards")
"""Keys that don't distinguish one installation from another."""


def numbers(version: str) -> Version:
    """The release in a version: "2.11.0a0+git1234" → (2, 11, 0); empty if there is none."""
    release = re.match(r"\d{1,9}(\.\d{1,9})*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def told_of(installed: Installed, facts: Facts, cards: int) -> str:
    """Return the description of an installation for rows, as JSON; ``cards`` is how many GPUs its machine has."""
    own = facts.model_dump(exclude={"error"})
    shared = installed.model_dump(include={"executable", "cores", "packages", "variables"})
    return json.dumps({**own, **shared, "python": installed.python, "machine_cards": cards}, sort_keys=True)


def checked_name(name: str) -> str:
    """Return a name for an installation; raises MatrixError if it can't be a folder's name."""
    if not NAME.fullmatch(name):
        why = "It may have letters, digits, '.', '_' and '-', at most 40."
        raise MatrixError(
            f"{name!r} is not a valid name for an installation.", why, "For example --python nightly=PATH."
        )
    return name

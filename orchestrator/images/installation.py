"""An installation that is not ours, in place of an image: a person's interpreter, or an image of somebody else's.

What it says of itself comes from ``installation_probe.py``, which runs inside it, and is hostile until read here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell.cell import Cell
from orchestrator.cell.strict import Strict
from orchestrator.errors import InstallationError, MatrixError
from orchestrator.images import installation_probe
from orchestrator.images.image import Image
from orchestrator.system.gpus import Version
from orchestrator.system.terminal import plain

SCRIPT = Path(installation_probe.__file__)

TF32_BY_NAME: Version = (2, 9)
"""The PyTorch from which on a script can say in one word in which precision it computes."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""What an installation may be called: a folder of its results has that name."""

Model = TypeVar("Model", bound=Strict)
Text = Annotated[str, StringConstraints(max_length=installation_probe.LONGEST)]
Whole = Annotated[int, Field(ge=0, le=2**31)]
Table = Annotated[dict[Text, Text], Field(max_length=installation_probe.MOST_PACKAGES)]


class Installed(Strict):
    """An interpreter: ``modules`` are those of ours that it can find, and from where; ``cores`` those it may use."""

    python: Text
    executable: Text
    prefix: Text
    cores: Whole
    modules: Table
    packages: Table
    variables: Table


class Facts(Strict):
    """What one module says of itself. None is what it can't tell; ``error`` says why it can't be imported.

    ``cards`` counts the GPUs that it sees; ``switches`` are those it was found with that cost time.
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
    """What an interpreter has said; raises InstallationError for anything that the probe does not say."""
    return read(said, Installed, source)


def read_facts(said: bytes, module: str, source: str) -> Facts:
    """What a module has said; one that says nothing, or something else, can't be imported."""
    try:
        facts = read(said, Facts, source)
    except InstallationError as error:
        return Facts(module=module, error=one_line(error.why or error.what)[: installation_probe.LONGEST])
    if facts.module != module:
        return Facts(module=module, error="it answered for another module")
    return facts


def read(said: bytes, model: type[Model], source: str) -> Model:
    """The typed model in an answer; raises InstallationError."""
    if not said.strip():
        raise InstallationError(f"{source} could not be asked what is installed.", "It ended without a word.")
    try:
        return model.model_validate_json(said, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "its answer"
        raise InstallationError(
            f"{source} could not be asked what is installed.", one_line(f"{place}: {first['msg']}"[:300])
        ) from None


def one_line(text: str) -> str:
    """Text that neither steers a terminal nor begins a line of its own."""
    return str(plain(text)).replace("\n", " ")


@dataclass(frozen=True)
class Installation(Image):
    """A framework as somebody has installed it; ``framework`` is ours by whose scripts it is measured.

    ``label`` is the name that the user gave. ``told`` is what it says of itself, a JSON object: it names its results.
    """

    label: str = ""
    told: str = "{}"

    @property
    def name(self) -> str:
        """Short and unique among what one command runs."""
        return f"{self.label}-{self.framework.framework}"

    @property
    def tag(self) -> str:
        """What stands in a row in place of an image's tag."""
        return self.label

    @property
    def environment(self) -> Mapping[str, str]:
        """It brings its own."""
        return {}

    @property
    def needs_container(self) -> str:
        """It is there already."""
        return ""

    def variables_for(self, cell: Cell) -> Mapping[str, str]:
        """Variables by which a version computes as a script of ours says, where it knows no name for that.

        PyTorch before 2.9 rounds to TF32 in some of its parts unless it is told otherwise, each by a name of its own.
        NVIDIA's libraries obey NVIDIA_TF32_OVERRIDE, whatever a framework asks of them: see cuBLAS' documentation.
        """
        told = json.loads(self.told)
        old = told.get("module") == "torch" and numbers(told.get("version") or "") < TF32_BY_NAME
        return {"NVIDIA_TF32_OVERRIDE": "0"} if old and cell.gpu != "none" and cell.precision == "fp32" else {}

    @cached_property
    def recipe(self) -> str:
        """Content hash of what it says of itself, but for where it lies: 16 hexadecimal digits."""
        content = {name: value for name, value in json.loads(self.told).items() if name not in ELSEWHERE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def columns(self) -> dict[str, str]:
        """What a row says of it."""
        return {
            "image": self.label,
            "recipe": self.recipe,
            "framework": self.framework.framework,
            "installation": self.told,
        }


ELSEWHERE = ("executable", "file", "machine_cards")
"""What does not make another installation of it."""


def numbers(version: str) -> Version:
    """The release in a version: "2.11.0a0+git1234" → (2, 11, 0); empty if there is none."""
    release = re.match(r"\d{1,9}(\.\d{1,9})*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def told_of(installed: Installed, facts: Facts, cards: int) -> str:
    """What a row keeps of an installation, as JSON; ``cards`` is how many GPUs its machine has."""
    own = facts.model_dump(exclude={"error"})
    shared = installed.model_dump(include={"executable", "cores", "packages", "variables"})
    return json.dumps({**own, **shared, "python": installed.python, "machine_cards": cards}, sort_keys=True)


def checked_name(name: str) -> str:
    """A name for an installation; raises MatrixError for one that can't be a folder's."""
    if not NAME.fullmatch(name):
        why = "It may have letters, digits, '.', '_' and '-', 40 at most."
        raise MatrixError(f"{name!r} can't be the name of an installation.", why, "For example --python nightly=PATH.")
    return name

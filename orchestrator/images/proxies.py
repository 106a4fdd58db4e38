"""Proxies of builds. BuildKit stores build arguments, so a proxy with a password is passed as a secret instead."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BuildError
from orchestrator.system.text_files import read_text

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

IN_CONFIG: Mapping[str, str] = {
    "httpproxy": "HTTP_PROXY",
    "httpsproxy": "HTTPS_PROXY",
    "noproxy": "NO_PROXY",
    "ftpproxy": "FTP_PROXY",
    "allproxy": "ALL_PROXY",
}
"""Their names in the settings of docker's command, which takes them in any case and makes build arguments of them."""

SECRET = "proxies"
VARIABLE = "ROSETTA_BUILD_PROXIES"
"""The secret of a build, and the variable of docker's command that holds it, so that it is in no file."""


@dataclass(frozen=True)
class Proxies:
    """The proxies that builds use, by the names of their variables: of the environment, and of docker's settings."""

    environment: tuple[tuple[str, str], ...] = ()
    docker: tuple[tuple[str, str], ...] = ()

    @classmethod
    def here(cls) -> "Proxies":
        """Return the proxies of this process and its user."""
        environment = tuple((name, os.environ[name]) for name in NAMES if os.environ.get(name))
        return cls(environment, tuple(of_docker().items()))

    @property
    def are_secret(self) -> bool:
        """Whether any of them has credentials."""
        return any("@" in value for name, value in (*self.environment, *self.docker) if name.lower() != "no_proxy")

    @property
    def arguments(self) -> dict[str, str]:
        """The build arguments. With a secret they are empty, so that docker's command does not fill them in."""
        if not self.are_secret:
            return dict(self.environment)
        return {name: "" for upper, _ in self.docker for name in (upper, upper.lower())}

    @property
    def variables(self) -> dict[str, str]:
        """The variable with the secret: shell lines that set the proxies, in upper and in lower case."""
        if not self.are_secret:
            return {}
        every = (*self.docker, *self.environment)
        both = {name: value for key, value in every for name in (key.upper(), key.lower())} | dict(self.environment)
        return {VARIABLE: "".join(f"export {name}={shlex.quote(value)}\n" for name, value in both.items())}


NONE = Proxies()


def of_docker() -> dict[str, str]:
    """Return the proxies in the settings of docker's command: the default ones and those for single engines."""
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        every = json.loads(read_text(path, BuildError)).items()
        told = [one for name, proxies in every if name.lower() == "proxies" and proxies for one in proxies.values()]
        settings = [(key.lower(), value) for one in told if isinstance(one, dict) for key, value in one.items()]
    except (BuildError, ValueError, AttributeError, RecursionError):
        return {}  # docker's command itself reports what is wrong with its file
    return {IN_CONFIG[key]: str(value) for key, value in settings if value and key in IN_CONFIG}


STEP = re.compile(r"(?m)^RUN (--mount=type=secret,id=ca \\\n)((?:    --mount=[^\n]*\\\n)*)    ")
"""The head of a step that uses the network: each of these mounts the certificate authorities to trust."""


def with_secret(dockerfile: str) -> str:
    """Return a Dockerfile in which each step that uses the network reads the secret first.

    Only builds behind such a proxy are changed, so that layers stay the same for all others.
    """
    read = rf"RUN --mount=type=secret,id={SECRET} \\\n    \1\2    . /run/secrets/{SECRET} \\\n && "
    return STEP.sub(read, dockerfile)

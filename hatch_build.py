"""What pyproject.toml can't say: single files that go into the package's folder 'program', but not for a checkout."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = (".dockerignore", "matrix.yaml")


class Program(BuildHookInterface):
    """Adds them to a wheel; an editable one has them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds; ``version`` is the kind of wheel."""
        if version == "standard":
            build_data["force_include"] |= {f"{self.root}/{name}": f"orchestrator/program/{name}" for name in FILES}

"""Which engine runs the cells."""

from orchestrator.engines.protocol import Engine
from orchestrator.errors import EngineError
from orchestrator.system.extras import need
from orchestrator.system.terminal import Say


def choose_engine(name: str | None, say: Say = lambda text: None, address: str | None = None) -> Engine:
    """The engine by name; without one Docker if it answers, else processes (and ``say`` why).

    ``address`` is that of a Ray cluster. Raises EngineError if the one that was asked for can't be used.
    """
    from orchestrator.engines.process import ProcessEngine

    if name == "process":
        return ProcessEngine()
    if name == "ray":
        return ray_engine(address, say)
    try:
        from orchestrator.engines.docker import DockerEngine

        return DockerEngine()
    except EngineError as error:
        if name == "docker":
            raise
        say(f"{error.what} Cells run as plain processes instead.")
        return ProcessEngine()


def ray_engine(address: str | None, say: Say) -> Engine:
    """The engine of a cluster; raises EngineError, or MissingPartError where Ray is not installed."""
    need("ray")
    from orchestrator.engines.ray import RayEngine

    return RayEngine(address, say)

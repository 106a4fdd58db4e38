"""Results of cells on pretended GPUs, for tests."""

from orchestrator.cell.contract import Document, Gpu
from orchestrator.system.slots import Lease


def pretend(document: Document, lease: Lease) -> Document:
    """Mark the document of a cell on a pretended GPU: as shortened, and on a machine that nobody could have."""
    if not lease.gpus:
        return document
    gpus = [Gpu(name=f"pretended {gpu.name}", uuid=gpu.uuid, driver="pretended") for gpu in lease.gpus]
    machine = f"pretended GPU, {document.environment.cpu}"
    environment = document.environment.model_copy(update={"gpus": gpus, "cpu": machine})
    return document.model_copy(update={"environment": environment, "shortened": True})

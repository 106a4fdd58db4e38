"""The declared, versioned schema of results."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = "rosetta.schema"
"""The version's name in a file's metadata; it also stands in the column ``schema``."""

PHASES = (
    *("kernels", "import", "data", "build", "upload", "first_step", "train", "validate"),
    *("warm_up", "predict", "evaluate"),
)
"""The phases of a run; each has a column of its seconds."""

COLUMNS: Mapping[str, str] = {
    # which cell; parity, a JSON object of errors, where the cell was not measured but compared with the reference
    "cell": "text", "repeat": "whole", "library": "text", "workload": "text", "platform": "text", "gpu": "text",
    "precision": "text", "variant": "text", "data": "text", "parity": "text?",
    # how it ended
    "status": "text", "reason": "text",
    # time (cold, as published, and warm) beside quality
    "seconds": "real?", "seconds_warm": "real?", "metric": "text?", "quality": "real?",
    # DenseNet-121: AUC of each finding, a JSON object with nulls for absent ones; file of the weights it began with
    "findings": "text?", "pretrained": "text?",
    # how much was processed; of epochs and samples, what was asked where there is no document
    "epochs": "whole?", "samples": "whole?", "steps": "whole?", "samples_tested": "whole?", "shortened": "truth",
    "n_gpus": "whole?", "workers": "whole?", "epoch_seconds": "reals?", "epoch_losses": "reals?",
    "validation_losses": "reals?", "epoch_qualities": "reals?",
    # phases; memory of the process and of the whole container in bytes
    "import_seconds": "real?", "data_seconds": "real?", "build_seconds": "real?", "first_step_seconds": "real?",
    "train_seconds": "real?", "warm_up_seconds": "real?", "predict_seconds": "real?", "evaluate_seconds": "real?",
    "validate_seconds": "real?", "wall_seconds": "real?", "peak_memory": "whole?", "container_memory": "whole?",
    # what ran, in the versions that it reports itself; packages is a JSON object
    "engine": "text", "image": "text", "image_digest": "text", "recipe": "text", "framework": "text",
    "framework_version": "text?", "cuda": "text?", "cudnn": "text?", "packages": "text?", "python": "text?",
    "numpy": "text?",
    # on what; memory in bytes
    "host": "text", "os": "text?", "kernel": "text?", "cpu": "text?", "cores": "whole?", "memory": "whole?",
    "gpu_name": "text?", "driver": "text?",
    # the orchestrator's commit and whether it was changed; the GPUs as JSON lists of their states; energy in joules
    "commit": "text?", "dirty": "truth?", "gpus_before": "text?", "gpus_after": "text?", "energy": "real?",
    # the GPUs as they were read inside the cell: in the middle, UUIDs, compute capability of the first, the most memory
    # in use on any, how many processes of others were on them; and the library's own word for its device
    "gpus_during": "text?", "gpu_uuids": "text?", "capability": "text?", "gpu_peak_memory": "whole?",
    "gpu_others": "whole?", "device": "text?",
    # the image's bases, by digest; a local image without one that stands in for its base, by id
    "base": "text?",
    # how the image was proved on this card before the cell ran: the run of its parity, or why there was none
    "proof": "text?",
    # the precision in force, as the library told it; how a GRU's time-steps were computed: cudnn, scan or loop; the
    # weights that a network for images began with: imagenet or random; seconds to compile kernels, before the clock
    "effective_precision": "text?", "gru": "text?", "start": "text?", "kernels_seconds": "real?",
    # threads asked of the library; processor time ÷ (seconds × cores), and the kernel's share of it; the machine's load
    # average by the core
    "threads": "whole?", "cpu_used": "real?", "cpu_in_kernel": "real?", "load_before": "real?", "load_after": "real?",
    # what an installation that is not ours says of itself (platform own), a JSON object: images/installation.py
    "installation": "text?",
    # what the run showed of itself, a JSON object: see Checks in cell/contract.py
    "checks": "text?",
    # contract 2: whether the data set lay on the host or on the device, and seconds to bring it there; how images lay
    # there; what compiled the steps, and its seconds, which are part of ``seconds``
    "input": "text?", "upload_seconds": "real?", "layout": "text?", "compiled": "text?", "compile_seconds": "real?",
    # how the cell's limits of cores and memory were enforced, and what it was not denied; null in a Docker container
    "limits": "text?",
    # bookkeeping
    "started": "time?", "key": "text", "run": "text", "log_tail": "text", "contract": "whole", "schema": "whole",
}  # fmt: skip
"""The columns of a row and their types; ``?`` may be null. All ``…seconds`` in seconds, ``started`` in UTC, ``run`` is
unique to a run. An ``incompatible`` row has nulls for all that only a run can tell."""

LATER = (
    *("parity", "warm_up_seconds", "predict_seconds"),
    *("workers", "findings", "pretrained", "validation_losses", "validate_seconds"),
    *("container_memory", "commit", "dirty", "gpus_before", "gpus_after", "energy"),
    *("gpus_during", "gpu_uuids", "capability", "gpu_peak_memory", "gpu_others", "device", "proof", "base"),
    *("effective_precision", "gru", "start", "kernels_seconds"),
    *("threads", "cpu_used", "load_before", "load_after"),
    "installation",
    "checks",
    *("input", "upload_seconds", "layout", "compiled", "compile_seconds"),
    "limits",
    "epoch_qualities",
    "cpu_in_kernel",
)
"""Columns that came without a new version of the schema: files without them are read as well."""


@cache
def schema() -> "pa.Schema":
    """The declared schema; it is never inferred."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "whole": pa.int64(),
        "real": pa.float64(),
        "reals": pa.list_(pa.float64()),
        "truth": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    fields = [pa.field(name, types[kind.rstrip("?")], nullable=kind[-1] == "?") for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})

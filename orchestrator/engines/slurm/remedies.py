"""What to change in site.yaml for what Slurm refuses, or queues for ever."""

from collections.abc import Mapping

ACCOUNT = "Set slurm: account in site.yaml; 'sacctmgr show associations user=$USER' lists yours."
QOS = "Set slurm: qos in site.yaml; 'sacctmgr show qos' lists them."
TIME = "Set slurm: time in site.yaml to what the partition, account and QOS allow."
PARTITION = "Set slurm: partitions in site.yaml to some that you may use; 'sinfo' lists them."
GRES = "Set slurm: gres in site.yaml to the names that 'sinfo --format=%G' has."
CONSTRAINT = "Change slurm: constraint in site.yaml; 'sinfo --format=%f' lists what nodes have."
CPUS = "Set slurm: cpus in site.yaml lower."
MEMORY = "Set slurm: memory in site.yaml lower."
LINES = "Look at the options of slurm: lines in site.yaml."
POLICY = "Ask less of each job by slurm: time, cpus and memory in site.yaml, or name another account or qos there."

REFUSED: Mapping[str, str] = {
    "invalid account": ACCOUNT,
    "qos": QOS,
    "maxwall": TIME,
    "time limit is invalid": TIME,
    "partition": PARTITION,
    "generic resource": GRES,
    "gres": GRES,
    "feature": CONSTRAINT,
    "node count": LINES,
    "dependency": LINES,
    "memory": MEMORY,
    "more processors": CPUS,
    "node configuration": "Set slurm: cpus, memory or constraint in site.yaml to what a node has.",
}
"""The remedy by what ``sbatch`` says, in lower case."""

POLICIES = "accounting/qos policy"
"""What ``sbatch`` says of every limit of an account or a QOS; which one it was, not all versions tell."""

ENDLESS: Mapping[str, str] = {
    "MaxWall": TIME,
    "PartitionTimeLimit": TIME,
    "PartitionNodeLimit": PARTITION,
    "DependencyNeverSatisfied": LINES,
    "JobHeldUser": "Let it go by 'scontrol release'.",
    "JobHeldAdmin": "An administrator holds it: ask why.",
    "BadConstraints": CONSTRAINT,
    "InvalidAccount": ACCOUNT,
    "AccountNotAllowed": ACCOUNT,
    "InvalidQOS": QOS,
    "QOSNotAllowed": QOS,
    "MaxCpuPerJob": CPUS,
    "MaxMemPerJob": MEMORY,
    "MaxMemoryPerJob": MEMORY,
    "MaxGRESPerJob": POLICY,
}
"""The remedy by why a job waits, where it would wait for ever; the names of limits begin by whose they are."""


def remedy_of(said: str) -> str:
    """Return the remedy for what a command refuses; empty where none is known."""
    lower = said.lower()
    if POLICIES in lower:
        return TIME if "maxwall" in lower else POLICY
    return next((remedy for text, remedy in REFUSED.items() if text in lower), "")


def remedy_of_waiting(reason: str) -> str:
    """Return the remedy for a job that will never start for this reason; empty for one that passes."""
    return next((remedy for text, remedy in ENDLESS.items() if text in reason), "")

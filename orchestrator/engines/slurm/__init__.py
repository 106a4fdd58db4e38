"""Run cells as jobs of Slurm, a cluster's own scheduler."""

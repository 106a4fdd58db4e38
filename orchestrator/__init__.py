"""Rosetta Matrix: deep-learning workloads in many libraries, measured in containers, from one matrix file."""

__version__ = "0.1.0"

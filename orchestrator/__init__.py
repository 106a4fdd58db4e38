"""Rosetta Matrix: deep-learning workloads in many libraries, measured in containers, from one matrix file."""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: matrix.yaml, images/ and workloads/ lie here."""

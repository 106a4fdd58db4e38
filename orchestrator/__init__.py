"""Rosetta Matrix: deep-learning workloads in many libraries, measured in containers, from one matrix file."""

"""System utilities: GPUs, slots, locks, signals, bounded streams, certificates, terminal text, checkout."""

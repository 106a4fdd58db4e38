"""What the machine gives: GPUs, slots, locks, signals, bounded streams, certificates, terminal text, checkout."""

"""Data sets and weights: fetched from their publishers, verified, and cached."""

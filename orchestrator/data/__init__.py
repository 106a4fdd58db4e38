"""Data sets and weights: from their publishers, verified, into the cache."""

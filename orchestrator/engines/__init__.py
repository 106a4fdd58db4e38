"""Engines run cells: in containers, on this host or on a cluster, or as plain processes."""

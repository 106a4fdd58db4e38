"""Planned cells → rows."""

"""Publish images and rows for others, and reproduce others' rows here."""

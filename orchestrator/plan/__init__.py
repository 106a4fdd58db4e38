"""The matrix file → cells → verdicts and keys."""

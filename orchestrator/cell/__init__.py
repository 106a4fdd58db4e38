"""What one cell is, is given, answers, and must reach."""

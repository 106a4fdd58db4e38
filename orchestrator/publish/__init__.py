"""Images and rows → others; others' rows → the same cells here."""

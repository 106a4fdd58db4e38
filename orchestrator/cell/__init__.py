"""A cell of the matrix: its axes, its contract with the image, its result and the quality it must reach."""

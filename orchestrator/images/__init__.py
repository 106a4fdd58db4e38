"""Framework definitions → Dockerfile → bake file → image digests: what the rest of the program uses of them."""

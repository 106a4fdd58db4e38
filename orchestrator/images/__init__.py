"""Images: framework definitions → Dockerfile → bake file → image digests."""

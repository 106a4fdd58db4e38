"""Results as pages: written to be opened from the disk, or served while cells run. They load nothing from outside."""

from orchestrator.report.site.pages import Site, write
from orchestrator.report.site.serving import serve

__all__ = ["Site", "serve", "write"]

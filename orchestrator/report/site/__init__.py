"""Results as pages: written to be opened from the disk, or served while cells run. They load nothing from outside."""

"""The interpreter's own package."""

"""Outputs that are JSON and fit a schema."""

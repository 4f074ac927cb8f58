"""Quotes in outputs: the input's own text, with its place."""

"""Structured output: the subset of JSON Schema, its checker, the repair of an output, and joining outputs. Pure."""

"""Structured output: a subset of JSON Schema, checking outputs against it, repairing outputs and joining them. Pure."""

"""Runs with many tasks at once: on a slow database, with a model that fails in part, beside a tenant in trouble."""

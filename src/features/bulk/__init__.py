"""Calls that change many tasks at once."""

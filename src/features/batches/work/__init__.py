"""Validates a batch, runs its lines, and writes its files."""

"""Batches and their files in D1."""

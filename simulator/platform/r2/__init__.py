"""Simulates R2: a bucket of objects, and its binding in an isolate."""

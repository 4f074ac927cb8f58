"""A retry of a completed task's gaps."""

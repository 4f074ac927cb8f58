"""The log of a task's calls."""

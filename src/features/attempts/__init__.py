"""The log of a task's model calls."""

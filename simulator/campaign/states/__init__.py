"""Knows every state of a small task: searches all orders of a few programs' steps, breadth first."""

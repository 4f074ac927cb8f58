"""The checks of what must be true at each write, at each call, and at the end of a run."""

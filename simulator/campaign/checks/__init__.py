"""The checks of a run: what must be true at each write, at each model call, and at the end of the run."""

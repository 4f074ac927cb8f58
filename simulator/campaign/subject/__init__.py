"""The Worker in the simulation: connected to the platform, observed, and changed during a run."""

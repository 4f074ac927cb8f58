"""The Worker in the simulation: how it is connected to the platform, observed, and changed during a run."""

"""The command line of onceover. It calls the public HTTP API, and imports nothing of the Worker's code."""

__version__ = "0.1.0"

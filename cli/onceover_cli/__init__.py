"""The command line of onceover, which calls the public HTTP API and imports nothing of the Worker's code."""

__version__ = "0.1.0"

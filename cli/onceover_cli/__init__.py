"""The command line of onceover, which speaks the public HTTP API and imports nothing of the Worker."""

__version__ = "0.1.0"

"""The command line of onceover. The command line speaks the public HTTP API and imports nothing of the Worker."""

__version__ = "0.1.0"

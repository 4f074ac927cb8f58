"""Files of requests, each of which is one model call."""

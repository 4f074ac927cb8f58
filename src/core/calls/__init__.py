"""The rules for calls to a model: what a failed call means, how long to wait, and how fast to make calls. Pure."""

"""The calls of a model: what a failure means, how long to wait, how fast to go. Pure."""

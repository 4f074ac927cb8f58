"""Decides which clients may call the API, by their keys, the rate limit, and the rules for cross-origin requests."""

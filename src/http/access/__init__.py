"""Decides which clients may call the API: API keys, the rate limit, and cross-origin requests (CORS)."""

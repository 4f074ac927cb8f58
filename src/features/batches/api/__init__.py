"""Batches in the shapes of OpenAI's API, below `/v1/batches`."""

"""OpenAI's Responses API, below `/v1/responses`."""

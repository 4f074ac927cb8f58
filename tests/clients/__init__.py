"""Tests onceover's API with unmodified clients of OpenAI's API, which get only another base URL and API key."""

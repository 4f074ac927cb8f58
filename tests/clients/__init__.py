"""Unmodified clients of OpenAI's API use onceover's API: they change only the base URL and the API key."""

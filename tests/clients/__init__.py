"""Published clients of OpenAI's API, unmodified, against this one: only base URL and API key are ours."""

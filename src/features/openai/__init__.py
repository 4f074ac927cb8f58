"""OpenAI's Responses API in background mode, over the same tasks."""

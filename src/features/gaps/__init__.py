"""Tasks that go on without some of their chunks, and retries of these gaps."""

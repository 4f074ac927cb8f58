"""Access to the database D1: compiled statements, calls with retries, and reading columns of the returned rows."""

"""Tasks whose outputs fit a schema."""

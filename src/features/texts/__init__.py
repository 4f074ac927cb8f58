"""Tasks whose text is in a file."""

"""Tasks whose text is in an uploaded file."""

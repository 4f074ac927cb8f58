"""Parses bodies of the type `multipart/form-data` while their bytes arrive."""

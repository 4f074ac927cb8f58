"""Reads bodies of the type `multipart/form-data` while they arrive."""

"""Uploads, lists and contents of files, below `/v1/files`."""

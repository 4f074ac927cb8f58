"""Batches: the lines of a file, the requests in them, and the lines of answers and errors. Pure."""

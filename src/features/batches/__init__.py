"""Batches: files of requests, one model call for each."""

"""Mutation testing: puts small mistakes into copies of the Worker, and counts how many mistakes the tests notice."""

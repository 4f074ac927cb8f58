"""Mutation testing puts small mistakes into copies of the Worker, and counts how many the tests notice."""

"""Mutation testing: copies of the Worker get small mistakes, to see whether the tests notice."""

"""Mutation testing: small mistakes are put into copies of the Worker, to see whether the tests notice."""

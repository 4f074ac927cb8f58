"""The runs: one seed, many seeds, every crash, every order of two workers."""

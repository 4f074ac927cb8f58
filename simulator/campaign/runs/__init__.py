"""The kinds of runs: one seed, many seeds, every crash of a flow, every order of two workers, restored databases."""

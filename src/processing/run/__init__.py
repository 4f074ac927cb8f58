"""One claim's work, from the claim to its end: `run.Run` is its loop, the other modules are what the loop is made of."""

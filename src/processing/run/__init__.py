"""One claim's work, from the claim to its end: `run.Run` is the loop, and the other modules are its parts."""

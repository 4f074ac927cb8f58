"""The lines of a batch: requests, answers and errors, each checked. Pure."""

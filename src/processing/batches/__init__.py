"""The work on batches: their validation, the inputs of their calls, and the files that they write."""

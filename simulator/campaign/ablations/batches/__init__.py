"""The ablations of files and batches."""

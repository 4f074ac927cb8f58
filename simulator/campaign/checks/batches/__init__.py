"""The checks of files and batches."""

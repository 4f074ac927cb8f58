"""The clients of files and batches."""

"""Files that clients upload, and files that hold results."""

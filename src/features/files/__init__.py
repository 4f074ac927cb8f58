"""Files that clients upload, and the parts in which they are stored."""

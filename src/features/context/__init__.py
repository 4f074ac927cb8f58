"""What goes along with a chunk: the text before it, and the headings above it."""

"""Changes of many tasks at once."""

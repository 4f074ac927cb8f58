"""The Worker under trial: plugged into the platform, watched, and changed for the length of a run."""

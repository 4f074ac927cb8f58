"""What clients and operators do in a run."""

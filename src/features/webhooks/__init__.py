"""Deliveries of the ends of tasks to clients' servers."""

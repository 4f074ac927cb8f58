"""Requests that wait for a task or follow it: how often they read it, which hosts notify them, and event streams."""

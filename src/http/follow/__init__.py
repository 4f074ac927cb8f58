"""Waiting for a task and following it: how often to read it, which hosts send notices, and streams of events."""

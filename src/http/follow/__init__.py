"""Waiting for a task and following it: how often to look, who tells of news, and streams of events."""

"""Examines a deployment from outside, and reports what was seen to work."""

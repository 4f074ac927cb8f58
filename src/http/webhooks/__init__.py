"""Webhook endpoints, and what they were told."""

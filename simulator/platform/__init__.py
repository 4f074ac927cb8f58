"""Simulates the Workers platform: isolates, D1, queues, Durable Objects, and the network between them."""

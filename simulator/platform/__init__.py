"""The simulated Workers platform: isolates, D1, queues, Durable Objects, and the network between them."""

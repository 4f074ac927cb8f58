"""The calls of the API about webhook endpoints and their deliveries."""

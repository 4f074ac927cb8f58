"""Which clients may call: keys, the limit of requests, and other origins."""

"""A simulated Workers platform: seeded schedules, virtual time, and bindings that fail like the real ones."""

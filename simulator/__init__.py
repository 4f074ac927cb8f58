"""A simulated Workers platform: seeded schedules, virtual time, and bindings that fail as the real ones do."""

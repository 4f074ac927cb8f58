"""The simulator: a Workers platform with seeded schedules, virtual time, and bindings that fail like real ones."""

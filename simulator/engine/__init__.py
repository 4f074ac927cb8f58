"""The simulator's engine: a seeded event loop in virtual time, faults drawn from a seed, and shrinking of failures."""

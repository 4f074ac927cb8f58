"""A seeded event loop in virtual time, the faults that a seed draws, and a tool that shrinks failing runs."""

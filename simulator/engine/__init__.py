"""A seeded event loop in virtual time, the faults that a seed draws, and what makes a failing run small."""

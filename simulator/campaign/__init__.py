"""Runs the Worker on the simulated platform: workloads, invariants, ablations, and the runs that combine them."""

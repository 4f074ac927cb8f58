"""`make bench ARGS=goals` measures all goals of speed, part by part, and prints one table of goals and figures.

Each finished part is written to .build/goals.json, so a measurement that was stopped goes on with the next part.
docs/performance.md explains the goals.
"""

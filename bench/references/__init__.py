"""`make bench ARGS="references"` compares onceover with programs that users would write instead, called references.

The references are written in JavaScript: seed.mjs is the design from which onceover grew, and workflows.mjs uses
Cloudflare Workflows. All systems run on one Miniflare version and call one model server for the whole measurement. A
work is a number of tasks with set properties. The program runs each work on one reference system after the other.
docs/performance.md has the figures.
"""

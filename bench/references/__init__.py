"""Compares onceover with what users would write instead, in one run: `make bench ARGS="references"`.

The references are written in JavaScript: seed.mjs is the design from which onceover grew, workflows.mjs uses Cloudflare
Workflows. All systems run on one Miniflare version, against one model, for the whole measurement. Each work is run on
one system after the other. docs/performance.md has the figures.
"""

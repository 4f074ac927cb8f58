"""onceover compared with what users would write instead, in one run: `make bench ARGS="references"`.

The references are in JavaScript: the seed's design by hand (seed.mjs), and Cloudflare Workflows (workflows.mjs). All
systems run on one Miniflare version, against one model, for the whole measurement. Each work goes to one system after
the other. docs/performance.md has the figures.
"""

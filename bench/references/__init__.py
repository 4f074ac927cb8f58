"""onceover beside what users would write instead, in one run: `make bench ARGS="references"`.

References are in JavaScript: the seed's design by hand (seed.mjs), and Cloudflare Workflows (workflows.mjs). All
systems run on one Miniflare version, against one model, and stay up for the whole of the measurement; each work is
given to one after the other. docs/performance.md has the figures.
"""

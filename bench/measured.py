"""What a 20-chunk task takes, as measured: 6,000 characters a chunk, outputs of 1,000. `bench.costs` counts with it.

`python -m bench.free_plan` gives TASK and CRON, `python -m bench storage` BYTES and SQLITE_MS. A test measures BYTES
again.
"""

COMMIT = "8307f2d"
CHUNKS = 20
RUN_SECONDS = 20.0  # four waves of calls of five seconds

# Of 40 tasks on the queue and 10 on objects, on a busy machine: half of them were polled once more than the three times
# that are counted. The erasure at the end of the retention is included. What depends on time is of a quiet machine
# (docs/design/platform-limits.md): `cpuMs`, of a submission, three polls and a run; and `objectGbSeconds`.
TASK: dict[str, dict[str, float]] = {
    "queue": {
        "requests": 5.5,
        "rowsRead": 335,
        "rowsWritten": 21.3,
        "queueOperations": 3,
        "objectRequests": 0,
        "objectRowsWritten": 0,
        "objectGbSeconds": 0,
        "cpuMs": 34,
    },
    "durable-object": {
        "requests": 4.5,
        "rowsRead": 334,
        "rowsWritten": 21.4,
        "queueOperations": 0,
        "objectRequests": 2,
        "objectRowsWritten": 4,
        "objectGbSeconds": 2.6,
        "cpuMs": 39,
    },
}
# A cron run that finds nothing to do but what is due for erasure, and what has ended to add to the sums: three rows
# written, and a sample with its removal each fifth time.
CRON: dict[str, dict[str, float]] = {
    route: {
        "requests": 1,
        "rowsRead": 73,
        "rowsWritten": 3.43,
        "queueOperations": 0,
        "objectRequests": 0,
        "objectRowsWritten": 0,
        "objectGbSeconds": 0,
        "cpuMs": 2,
    }
    for route in TASK
}
# What a completed task leaves in D1, of 200 in one file.
BYTES = {"English": 13_353, "Chinese": 31_355}
# In and out, instructions included: estimated as `dryRun` does, and 750 tokens a call that the model thinks.
TOKENS = {"English": (30_200, 20_000), "Chinese": (120_200, 35_000)}
# The processor's time that SQLite takes for a task and three polls, in Chinese.
SQLITE_MS = 4.7

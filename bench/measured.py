"""The measured use of a task of 20 chunks: 6,000 characters a chunk, outputs of 1,000. `bench.costs` multiplies it.

`python -m bench.free_plan` prints the values of TASK and CRON, `python -m bench storage` those of BYTES and SQLITE_MS.
Tests measure ROWS, the rows that a cron run writes, and BYTES again.
"""

COMMIT = "b91ea6b"
CHUNKS = 20
RUN_SECONDS = 20.0  # a run takes four waves of calls of five seconds

# Rows written, index entries included: by a task whose calls end in waves, from submission to completion; by its
# erasure; and by a cron run that adds ended tasks to the sums.
ROWS = {"task": 14, "erasure": 4, "sums": 3}
# Rows written by a task whose calls take 2 to 10 s: the average of many runs, and one run of `make bench` on the queue.
ROWS_UNEVEN = (27, 30)
# Milliseconds of an invocation, median and 95 %: with chunks of 6,000 characters, 40 tasks on each route, on a machine
# without other work. Medians of five runs.
CPU_MS: dict[str, dict[str, tuple[float, float]]] = {
    "queue": {"submission": (13, 21), "poll": (6.5, 11), "slice": (29.5, 40)},
    "durable-object": {"submission": (14, 23), "poll": (3, 6), "slice": (30, 47)},
}
_OF_A_TASK = {"submission": 1, "poll": 3, "slice": 1}


def _cpu_ms(route: str) -> float:
    return round(sum(count * CPU_MS[route][what][0] for what, count in _OF_A_TASK.items()))


# The use of the cheapest of 40 tasks on each route, with three polls. One of the polls waits, so it is a call to the
# task's object. The figures include the erasure at the end of the retention. `objectGbSeconds` are of the average task,
# with calls of 5 s.
TASK: dict[str, dict[str, float]] = {
    "queue": {
        "requests": 5,
        "rowsRead": 412,
        "rowsWritten": ROWS["task"] + ROWS["erasure"],
        "queueOperations": 3,
        "objectRequests": 0,
        "objectRowsWritten": 0,
        "objectGbSeconds": 0,
        "cpuMs": _cpu_ms("queue"),
    },
    "durable-object": {
        "requests": 4,
        "rowsRead": 409,
        "rowsWritten": ROWS["task"] + ROWS["erasure"],
        "queueOperations": 0,
        "objectRequests": 3,
        "objectRowsWritten": 4,
        "objectGbSeconds": 2.57,
        "cpuMs": _cpu_ms("durable-object"),
    },
}
# The use of a cron run on a day on which a task ends each minute. The run only adds up sums, every second time, and
# writes a sample, every fifth time; each new row pushes out an old one (`bench.sweeps`).
CRON: dict[str, dict[str, float]] = {
    route: {
        "requests": 1,
        "rowsRead": 57,
        "rowsWritten": 4.1,
        "queueOperations": 0,
        "objectRequests": 0,
        "objectRowsWritten": 0,
        "objectGbSeconds": 0,
        "cpuMs": 2,
    }
    for route in TASK
}
# The bytes that a completed task leaves in D1, with 200 tasks in one file.
BYTES = {"English": 13_353, "Chinese": 31_355}
# Tokens in and out, instructions included: estimated as `dryRun` does, plus 750 tokens a call for the model's thinking.
TOKENS = {"English": (30_200, 20_000), "Chinese": (120_200, 35_000)}
# The processor time that SQLite takes for a task and three polls, in Chinese.
SQLITE_MS = 3.4

"""The measured use of a task of 20 chunks of 6,000 characters with outputs of 1,000, as `bench.costs` needs it.

`python -m bench.free_plan` prints the values of TASK and CRON, `python -m bench storage` those of BYTES and SQLITE_MS,
and `python -m bench.batches --counts` the rows that a BATCH reads. Tests measure ROWS, BYTES, the other counters of a
BATCH and the rows that a cron run writes again.
"""

COMMIT = "b91ea6b"
CHUNKS = 20
RUN_SECONDS = 20.0  # a run takes four waves of calls of five seconds

# The rows that a task writes, index entries included. `task` counts from submission to completion, with calls that end
# in waves; `erasure` counts the task's erasure, and `sums` a cron run that adds ended tasks to the sums.
ROWS = {"task": 14, "erasure": 4, "sums": 3}
# The rows that a task writes if its calls take 2 to 10 s: the average of many runs, and one run of `make bench` on the
# queue route.
ROWS_UNEVEN = (27, 30)
# The CPU milliseconds of an invocation, median and 95th percentile, with chunks of 6,000 characters, from one run of
# `bench.free_plan` with 40 tasks on each route, on a machine without other work (b48fd339).
CPU_MS: dict[str, dict[str, tuple[float, float]]] = {
    "queue": {"submission": (8, 16), "poll": (8, 14), "slice": (29, 39)},
    "durable-object": {"submission": (9, 13), "poll": (5, 9), "slice": (33.5, 51)},
}
_OF_A_TASK = {"submission": 1, "poll": 3, "slice": 1}


def _cpu_ms(route: str) -> float:
    return round(sum(count * CPU_MS[route][what][0] for what, count in _OF_A_TASK.items()))


# The use of the cheapest of 40 tasks on each route, with three polls. One of the polls waits for the task's end, and
# therefore calls the task's object. The figures of a task's use include the erasure at the end of the retention.
# `objectGbSeconds` is the value of the average task, with model calls of 5 s.
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
# The use of a cron run on a day on which a task ends each minute. Every second run adds ended tasks to the sums, and
# every fifth run writes a sample. Each new row of a sum or a sample makes a later run delete an old one
# (`bench.sweeps`).
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
# The bytes that a completed task leaves in D1, measured with 200 tasks in one database file.
BYTES = {"English": 13_353, "Chinese": 31_355}
# The input tokens, instructions included, and the output tokens. These tokens are estimated as for `dryRun`, plus 750
# tokens a call for the model's thinking.
TOKENS = {"English": (30_200, 20_000), "Chinese": (120_200, 35_000)}
# The processor time that SQLite takes for a task and three polls, in Chinese.
SQLITE_MS = 3.4

BATCH_LINES = 20_000
# What a batch of 20,000 lines uses on a route and a plan, from its upload to the erasure of its files, with lines and
# answers of some 300 characters, and model calls that all take five seconds. The cron runs of its hour are included in
# `rowsWritten`. `bucketWrites` are puts and lists, and `bucketReads` gets. The rows read are those of the local
# runtime, with a model that answers at once.
BATCH: dict[tuple[str, str], dict[str, float]] = {
    ("queue", "free"): {
        "requests": 174,
        "rowsRead": 98_250,
        "rowsWritten": 2_028,
        "queueOperations": 510,
        "objectRequests": 6_837,
        "objectRowsWritten": 6_672,
        "objectGbSeconds": 2_636,
        "bucketWrites": 7,
        "bucketReads": 507,
    },
    ("objects", "free"): {
        "requests": 4,
        "rowsRead": 77_680,
        "rowsWritten": 2_030,
        "queueOperations": 0,
        "objectRequests": 7_008,
        "objectRowsWritten": 7_013,
        "objectGbSeconds": 3_097,
        "bucketWrites": 7,
        "bucketReads": 506,
    },
    ("queue", "paid"): {
        "requests": 11,
        "rowsRead": 90_490,
        "rowsWritten": 1_556,
        "queueOperations": 21,
        "objectRequests": 6_675,
        "objectRowsWritten": 6_671,
        "objectGbSeconds": 2_636,
        "bucketWrites": 7,
        "bucketReads": 23,
    },
}
# Processor time of a line on the queue, ms, of all processes of `make dev` (docs/performance.md, "Batches").
BATCH_CPU_MS = 2.71
BATCH_ROWS_UNEVEN = 20_576  # The rows that the batch writes on the queue and the paid plan with calls of 2 to 10 s.
BATCH_MB = 20.7  # What its files have together.

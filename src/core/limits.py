"""Every stated limit, with the platform's own figure beside it.

Sources: Cloudflare's published limits for Workers, D1, Queues and Durable Objects, as of November 2026.
"""

# --- What a client may send -------------------------------------------------------------------------
INPUT_BYTES_DEFAULT = 1_000_000
INPUT_BYTES_MOST = 1_850_000  # D1: a row holds at most 2,000,000 bytes, and this row also has instructions and cuts
INSTRUCTIONS_CHARS_MOST = 20_000
METADATA_BYTES_MOST = 4_096
MODEL_OPTIONS_BYTES_MOST = 4_096
OUTPUT_TOKENS_MOST = 1_000_000
TEMPERATURE_MOST = 2.0
MODEL_CHARS_MOST = 200
CHUNK_CHARS_MOST = 1_000_000
# Characters of all calls for chunks, with overlaps and instructions: the limit bounds the cost.
SENT_CHARS_MOST = 25_000_000
CHUNKS_MOST = 5_000  # Each chunk takes one row; such a task takes about 15 minutes with six calls at a time.
SMALL_BODY_BYTES_MOST = 10_000  # The largest body of a request without a text.
BODY_OVERHEAD_BYTES = 300_000  # The bytes that instructions, metadata and JSON add to `input`.
BODY_ESCAPE_FACTOR = 6  # "\u0001" is six bytes of JSON for one byte of text.
WAIT_SECONDS_MOST = 25
WAIT_POLL_SECONDS = 0.5  # `?wait=` reads D1 at most twice a second.
# The seconds between two such reads while the task's host tells its waiting clients about the end.
WAIT_TOLD_SECONDS = 5.0
# A request that waits for a task checks the isolate's memory: after 50 ms, or after a fraction of the time since the
# last change, at most NEAR_SECONDS_MOST. One check takes about half a millisecond of CPU.
NEAR_SECONDS = 0.05
NEAR_SECONDS_MOST = {"free": 1.0, "paid": 0.1}
NEAR_FRACTION = 1 / 16
NEAR_FRACTION_UNKNOWN = 1 / 2  # The fraction while no worker of the isolate is known to have the task.
MARKS_MOST = 1_000  # The tasks in the isolate's memory.
AUDIENCE_MOST = 32  # The waiting calls at an object; platform: 32,000 requests wait at one, and each takes memory.
RESPONSE_METADATA_PAIRS_MOST = 16  # The pairs in `metadata` on /v1, as at OpenAI.
RESPONSE_METADATA_KEY_CHARS_MOST = 64
RESPONSE_METADATA_VALUE_CHARS_MOST = 512
JOINING_TIMEOUT_SECONDS = 600.0  # The timeout of an SDK that names none: OpenAI's default.
# The time from an SDK's timeout to its next send: Retry-After up to 120 s, and the transfer.
JOINING_PAUSE_SECONDS = 130.0
JOINING_SECONDS_MOST = 1_200  # After this time a repeated request on /v1 joins no earlier task.
RESPONSE_UNSTORED_SECONDS = 3_600  # How long the Worker keeps a response with `store: false` after its end.
LIST_LIMIT_DEFAULT = 20
LIST_LIMIT_MOST = 100
WAIT_READS_FREE = 5  # Reads of D1 by one `?wait=` on PLAN=free.
CANCEL_ANSWER_SECONDS = 25.0  # The API answers a cancellation or deletion within this time, even if D1 is slow.
BULK_TASKS_MOST = 100  # Tasks that one request retries or cancels.
BULK_COUNT_MOST = 10_000  # Tasks that a dry run of a bulk request counts: the run reads two rows for each.
BULK_SEND_SECONDS = 10.0  # How long a bulk retry dispatches tasks; the sweep takes the others.
# A stream of events reads its task at most once a second, and less often while nothing changes. A change reaches the
# client late by a second, or by a quarter of the time it took, up to EVENT_LOOK_SECONDS_MOST. The stream ends after so
# many reads or seconds, and the client comes back. The free plan allows 10 ms of CPU; a read takes one or two.
EVENT_LOOK_SECONDS_LEAST = 1.0
EVENT_LOOK_SECONDS_MOST = 10.0
EVENT_READS = {"free": 6, "paid": 600}
EVENT_SECONDS = 600.0
EVENT_CHUNKS_AT_ONCE = 16  # Chunks that one read returns; an output has up to OUTPUT_CHARS_MOST.
EVENT_COMMENT_SECONDS = 5.0  # The time between two comments of a stream, whatever the database does.
# How long a stream trusts its key: after a revocation the stream ends within 60 s, including one read.
EVENT_KEY_SECONDS = 45.0
EVENT_RETRY_MS = 500  # The pause before a client reopens a stream that ended early.
EVENT_HELP_SECONDS = 60.0  # The time after which a stream again helps a task that no host works on.
REQUEST_PERIOD_SECONDS = 60  # The period of RATE_LIMITER in wrangler.toml; platform: 10 or 60.
RATE_LIMITER_SECONDS = 1.0  # A slower limiter lets the request through.

# --- Keys -------------------------------------------------------------------------------------------
KEYS_MOST = 100  # The keys of a tenant.
KEY_LABEL_CHARS_MOST = 100
KEY_BODY_BYTES_MOST = 10_000
KEY_SECONDS_MOST = 315_360_000  # The seconds of ten years.
KEY_CACHE_SECONDS = 60.0  # How long an isolate trusts a key without asking D1: the longest delay of a revocation.
KEY_CACHE_MOST = 1_000  # Keys in an isolate's memory.
REFUSED_CACHE_SECONDS = 10.0  # How long an isolate refuses a text without asking D1: the longest delay of a new key.
REFUSED_CACHE_MOST = 1_024  # Texts in an isolate's memory, 32 bytes each.
LOOKUPS_AT_ONCE = 20  # Lookups of unknown keys at a time: a flood of such keys costs at most so many D1 calls at once.
LOOKUPS_A_SECOND = 5.0  # Further such lookups per second; lookups that find a key are free.

# --- Status -----------------------------------------------------------------------------------------
MODEL_CHECK_SECONDS = 15.0  # An isolate asks the provider at most once in this time.
DATABASE_CHECK_SECONDS = 1.0  # An isolate asks the database at most once in this time, for `GET /api/async-status`.

# --- What a model may answer ------------------------------------------------------------------------
OUTPUT_CHARS_MOST = 200_000
REPLY_BYTES_MOST = 1_048_576
# An answer that its schema refuses is kept, and shown to the model again, up to this length.
REJECTED_CHARS_MOST = 8_000
FAULTS_MOST = 10  # of such an answer
FAULT_CHARS_MOST = 200  # of a pointer, and of what was expected there
FINISH_REASON_CHARS_MOST = 40  # characters of the provider's reason for an output's end; longer reasons are cut off

# --- Structured output ----------------------------------------------------------------------------------
SCHEMA_BYTES_MOST = 32_768  # as compact JSON
SCHEMA_PROPERTIES_MOST = 5_000  # these three are OpenAI's
SCHEMA_LEVELS_MOST = 10  # of objects and arrays within each other
SCHEMA_ENUM_VALUES_MOST = 1_000
VALUE_LEVELS_MOST = 64  # of an output as JSON: Python's parser and writer recurse
BRANCH_STEPS_MOST = 200_000  # of one check's search through `anyOf`: half a second at most
JOIN_FIELDS_MOST = 5_000  # outside arrays
JOIN_BYTES_MOST = 32_768  # of the rules of `join`, as compact JSON
SCHEMA_NAME_CHARS_MOST = 64  # OpenAI's

# --- What a tenant may have ---------------------------------------------------------------------------
IDEMPOTENCY_SECONDS = 86_400
IDEMPOTENCY_KEY_CHARS_MOST = 255
DEADLINE_SECONDS_MOST = 2_592_000  # 30 days
MODEL_CALLS_MOST = 1_000_000
TASKS_IN_FLIGHT_MOST = 10_000  # the highest MAX_TASKS_IN_FLIGHT: a submission reads one or two rows for each task
CHARACTERS_A_DAY_MOST = 1_000_000_000_000
IN_FLIGHT_RETRY_SECONDS = 10
OBJECTS_AT_WORK_MOST = 10_000  # the highest MAX_OBJECTS_AT_WORK: a dispatch reads one or two rows for each object

# --- Merging ----------------------------------------------------------------------------------------
MERGE_CHARS_LEAST = 2_000  # A merge call never takes less than this, even with small chunks.

# --- D1 ---------------------------------------------------------------------------------------------
PIECE_BYTES_MOST = 900_000  # Bytes of a value before compression, stored as hexadecimal, twice as long; D1: 2,000,000.
SEGMENT_BYTES = 32_768  # Compressed bytes; a segment of this size takes no more: each write rewrites the whole segment.
COMPRESSION_LEVEL = 6
# Characters of text that a run reads at once: the first claim of a task up to this length reads the text whole.
WINDOW_CHARS_MOST = 131_072
WINDOW_CHUNKS_LEAST = 40  # Chunks that a claim reads at least, if the text fits: a run on the free plan may do these.
MERGE_CALLS_READ = 32  # Merge calls whose outputs a run reads at once.
# Characters of merge outputs that a run keeps in memory; the run reads the others again.
OUTPUTS_KEPT_CHARS = 4_000_000
ANSWER_CHARS_AT_ONCE = 2_000_000  # Characters of output that an answer reads at once; a longer answer is sent in parts.
STORE_SENDS = 3  # The store sends a write at most so many times; every write is safe to send again.
STORE_RESEND_SECONDS = 0.1
STORE_SECONDS = 30.0  # The store gives up an unanswered call after this; the call's write may still land, even later.
STORE_SECONDS_OF_REQUEST = 10.0  # The same limit for the HTTP API, where a client waits.
LATE_SECONDS_MOST = 3_600.0  # How late a write that was given up may still land: seconds were seen, but clocks jump.
OVERLOAD_SECONDS = 5.0  # While D1 takes longer than this for an answer, an isolate takes no new task.
OVERLOAD_PROBE_SECONDS = 5.0  # After this time the isolate lets one task through as a probe.
OVERLOAD_FORGET_SECONDS = 60.0  # A call is given up after STORE_SECONDS: an older call has lost its caller.
# Platform: a database holds 500 MB on the free plan and 10 GB on the paid one, in millions of bytes. STORAGE_MB_MOST
# leaves at least a twentieth of it for what running tasks still have to store.
STORAGE_MB_MOST = {"free": 450, "paid": 9_500}
CLEAR_FRACTION = 0.9  # Above this part of STORAGE_MB_MOST the sweep erases ended tasks early.
CLEAR_TASKS_MOST = 40  # Tasks that one transaction erases early.
CLEAR_PAGES_MOST = {"free": 1, "paid": 10}  # Pages of early erasure in one sweep.
CLEAR_WALK_MOST = 1_000  # Tasks that a page of early erasure reads, including those that may not be erased yet.
KEPT_SECONDS_LEAST = 86_400.0  # The sweep erases no task for lack of space before this time after the task's end.
STORAGE_COUNT_SECONDS = 21_600.0  # How long a count of the tenants' storage is used: it reads one row per task.
STORAGE_TENANTS_MOST = 50  # The tenants that are counted: those that store most.
STORAGE_MEASURE_SECONDS = 10.0  # An isolate that refuses new tasks checks the size again after this.
STORAGE_REST_SECONDS = 600.0  # How long a task rests after there was no space for the output of a call.
ROOM_BYTES_A_CALL = 65_536  # The free space that a call needs in a tight database; most outputs take 4 KB.
ROOM_BYTES_MOST = 1_500_000  # The free space that all calls of a run need together; D1: a row of 2,000,000.
AHEAD_COUNTED_SECONDS = 5.0  # A poll counts the tasks ahead once a task has waited this long.
AHEAD_COUNTED_MOST = 100  # Unfinished tasks of a tenant that a poll counts at most.
LIST_WALK_MOST = 500  # Tasks that a page with a filter walks over at most; counts walk over as many.
SEARCH_CHARS_MOST = 100  # Characters that the list is searched for.
FIRST_LINE_CHARS_MOST = 120  # Characters of a text's first line, which is a name for its task.
FIRST_LINE_WITHIN_CHARS = 1_000  # The first line begins within so many characters, or the text has none.
ATTEMPTS_LOGGED_MOST = 10  # Failed calls that the log of calls keeps for one output.
ATTEMPT_MESSAGE_CHARS_MOST = 300  # Characters of a message in the log of calls.

# --- Processing -------------------------------------------------------------------------------------
# How long a run starts calls at most, and when the platform ends the invocation (Workers, Limits: duration; Queues,
# Limits: consumer wall time; Durable Objects, Alarms). `processing/allowance.py` makes slices from both.
QUEUE_SLICE_SECONDS = 600.0
QUEUE_WALL_SECONDS = 900.0  # platform: 15 minutes for a consumer
DIRECT_SLICE_SECONDS = 20.0
DIRECT_WALL_SECONDS = 30.0  # platform: waitUntil is cut 30 s after the answer
SWEEP_SLICE_SECONDS = 600.0
SWEEP_WALL_SECONDS = 900.0  # platform: 15 minutes for a cron trigger
OBJECT_SLICE_SECONDS = 300.0
OBJECT_WALL_SECONDS = 900.0  # Platform: 15 minutes for an alarm.
WALL_MARGIN_SECONDS = 5.0  # START_SECONDS before a call, and the write of its end; nothing lingers after the last call.
SUBREQUESTS = {"free": 45, "paid": 900}  # Platform: 50; 10,000 on the paid plan, where D1's 1,000 queries end first.
STATEMENTS = {"free": 45, "paid": 900}  # Platform: as many statements of D1; each statement of a batch counts.
RUN_LEAST = 20  # A run starts only if the invocation has so many subrequests, and statements, left.
# Calls must start within this time after their announcement, or they are announced again. The window grows with the
# database's latency: START_LATENCIES times the duration of a write plus START_SECONDS_MORE, between the first two.
START_SECONDS = 2.0
START_SECONDS_MOST = 20.0
START_LATENCIES = 2.0
START_SECONDS_MORE = 1.0
LATENCY_SECONDS_KEPT = 60.0  # After this time an isolate forgets what it measured of the database's latency.
# The pause after an announcement without a started call; the pause doubles with each one in a row.
START_PAUSE_SECONDS_FIRST = 1.0
START_PAUSE_SECONDS_MOST = 30.0
FRUITLESS_MOST = 3  # After so many such announcements in a row, and with no call in flight, the run releases its task.
IDLE_SECONDS_FIRST = 5.0  # How long that task is left alone; the time doubles with each run that started no call.
IDLE_SECONDS_MOST = 600.0
WRITES_A_CALL = 2  # A worker's writes for each ended call: the record, and the next call's announcement.
WRITES_A_MINUTE = 2  # A worker's further writes, even if everything fails.
WRITES_AT_FIRST = 5  # Writes that a run may make at once: a claim, three fruitless announcements, the release.
WRITES_AT_FIRST_IDLE = 2  # The same number after a run that started no call: a claim, and one announcement.
# How long a finished call waits so that several are recorded together: each write costs two rows and a D1 call. No new
# call starts in its place while it waits, so a task with uneven calls takes some 8 to 11 % longer. While no call of a
# run has taken QUICK_CALL_SECONDS, its outputs reach a stream within two seconds.
LINGER_FRACTION = 0.2  # The part of its own duration that an ended call waits; all of it if no call could start.
LINGER_SECONDS_QUICK = 0.7  # The longest such wait while calls are quick: then a stream reads within 1.25 s.
LINGER_SECONDS_MOST = 2.0
QUICK_CALL_SECONDS = 5.0
# A run that waits for slow calls checks its claim: first LOOK_SECONDS_FIRST after its last write, then after twice the
# last pause, up to the most. At most LOOKS_MOST checks a run; on a slow database one in LOOK_LATENCIES latencies.
LOOK_SECONDS_FIRST = 5.0
LOOK_SECONDS_MOST = 10.0  # a cancelled task frees its host within 15 s, including the end of its calls and a write
LOOK_LATENCIES = 10.0
LOOKS_MOST = {"free": 10, "paid": 100}
TELL_SECONDS = 2.0  # How long a cancellation waits for the object that it notifies, and an object for a lane.
CANCEL_SECONDS_MOST = 22.0  # How long the API holds a cancellation; the contract: an answer within 25 s.
DROP_SECONDS_MOST = 1.0  # How long a run waits until cancelled calls have closed their connections.
INLINE_WAIT_SECONDS_MOST = 30.0  # For a longer wait, a run releases its claim.
# On Cloudflare the clock moves only in timers, and Pyodide's own loop sets no timer for 2 ms or less.
TIMER_SECONDS_LEAST = 0.003  # Every wait for a time lasts at least this long, or the wait might never end.

# --- A task whose workers die -------------------------------------------------------------------------
STALL_REST_SECONDS = 500.0  # The time from the first to the last of several claims in a row without a finished call.
STALL_SECONDS_LEAST = 600.0  # The time from the first such claim until the task fails.

# --- Retry ------------------------------------------------------------------------------------------
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MOST = 60.0
# The time between two probes of a model that is away; the time doubles with each failed probe.
AWAY_SECONDS_FIRST = 1.0
AWAY_SECONDS_MOST = 300.0  # At most 32 probes an hour result from this, with any jitter.
AWAY_SECONDS_KEPT = 900.0  # After this time an isolate forgets that a model was away.
AWAY_NEWCOMER_SECONDS = 5.0  # A task without failures of its own probes this long after another's probe.
AWAY_TURN_SECONDS = 30.0  # A task whose own pause is over waits at most this long for another's probe.
AWAY_CLOCK_SECONDS = 5.0  # How far D1's clock may seem to differ from an isolate's, transfer included.
AWAY_LOOK_SECONDS = 2.0  # How often a waiting run checks whether another run of its isolate has had a success.
# A run of the queue holds a consumer that other tasks may need. So such a run waits only this long while its model is
# away. After another failure it waits for UNCOUNTED_SECONDS_MOST at most, which no pause of a brown-out exceeds.
QUEUE_AWAY_WAIT_SECONDS_MOST = 2.0
QUEUE_TURN_WAIT_SECONDS_MOST = 120.0  # How long a run gives back a task that only waited for its turn to probe.
NEWS_MODELS_MOST = 1_000  # Tenants and models in an isolate's memory, some 3 KB each.

# --- Failures of the service: see `core/calls/failures.py` ------------------------------------------------------
OTHERS_MOST = 10  # Other chunks of the tenant whose latest calls decide about a chunk's failure.
OTHERS_LEAST = 3
OTHERS_SECONDS = 900.0  # Calls older than this do not count.
OTHERS_SHARE = 0.8  # The failure counts against the chunk if this share of the others succeeded.
LATEST_CALLS_KEPT = OTHERS_MOST + 1
FAILURES_COUNTED_MOST = 10  # Counted failures of a chunk.
# The pauses after each counted failure except the last.
COUNTED_PAUSES_SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 160.0, 160.0, 160.0)
UNCOUNTED_SECONDS_MOST = 8.0  # The pause after an uncounted failure, unless the model is away; the contract: 10 s.
BROWN_OUT_SECONDS = 30.0  # For this long after the tenant's last success a failing model is in a brown-out, not away.
WIDEN_SECONDS = 10.0  # The time from the last failure until a run has its usual width.
TELL_CALLS_SECONDS = 300.0  # For this long after the last failure isolates exchange their calls through the database.
PATIENCE_SECONDS_MOST = 86_400
RATE_LIMIT_SECONDS_FIRST = 2.0  # The first pause if the provider does not say how long.
# The first pause if the provider says how long: obeying a Retry-After of 0 would cause a storm of calls.
RATE_LIMIT_SECONDS_LEAST = 0.125
RATE_LIMIT_SECONDS_MOST = 3_600.0
RATE_LIMIT_WAITS_MOST = 100  # after so many waits in a row, without a finished call in between, the task fails

# --- A day on the free plan -----------------------------------------------------------------------------
# Platform: per account, from midnight UTC to midnight UTC. The names are those of `usage` in /api/async-status.
FREE_PLAN_DAY = {
    "requests": 100_000,  # Requests to the Worker, which are HTTP requests, cron runs and queue batches.
    "rowsRead": 5_000_000,  # Rows read in D1.
    "rowsWritten": 100_000,  # Rows written in D1, including index entries.
    "queueOperations": 10_000,  # A message that is delivered once counts three operations.
    "objectRequests": 100_000,  # Calls and alarms of objects.
    "objectRowsWritten": 100_000,  # Rows written in the objects' own storage, including alarms.
    "objectGbSeconds": 13_000,  # An object at work counts 128 MB.
}

# --- Dispatch and sweep -----------------------------------------------------------------------------
QUEUE_SHARE = 100  # Tasks of a tenant in the queue; further tasks go to objects of their own.
SEND_SECONDS = 5.0  # A slower send counts as failed, and the next route is tried.
QUEUE_DELIVERIES = 3  # The value in wrangler.toml: max_retries = 2.
QUEUE_DELAY_SECONDS_MOST = 43_200  # Platform: 12 hours.
QUEUE_RETRY_SECONDS = 30
SWEEP_PAGE_TASKS = 100  # Tasks that a sweep reads together; further pages follow while the run's allowance lasts.
SWEEP_TURNS = 37  # Tenants by which the first turn moves each time: at least as many as a run can serve, and prime.
PLACES_WALK_MOST = 500  # Tasks of a tenant, beyond MAX_OBJECTS_AT_WORK, that are read to find a free slot.
PLACES_GIVEN_MOST = {"free": 10, "paid": 500}  # Slots that a sweep gives to waiting tasks.
SWEEP_QUEUE_SHARE = 10  # Tasks of a tenant that a run adds to the queue; further tasks go to objects of their own.
ERASE_OUTPUTS_MOST = 5_000  # Chunks of the tasks that one transaction of the sweep erases.
ERASE_TASKS_MOST = {"free": 40, "paid": 200}  # Tasks that one transaction of the sweep erases.
ERASE_PAGES_MOST = {"free": 1, "paid": 5}  # Transactions of erasure in one run: 1,440,000 tasks a day on the paid plan.
OBJECT_FAILURES_MOST = 6
OBJECT_START_SECONDS = 5.0  # How long a started object counts as about to work.
# The time from the start of a slice that dies; platform: no alarm fires while one is running.
OBJECT_RETURN_SECONDS = 10.0

# --- Lanes of a long task, where objects are bound ------------------------------------------------------
LANE_CALLS = 6  # Platform: connections of one invocation that may wait for their headers.
LANE_CHUNKS = 24  # A task gets one lane for this many chunks.
LANES_FROM_CHUNKS = 2 * LANE_CHUNKS  # A task with fewer chunks would have one lane, and works without.
LANES_MOST = 5  # The task's host waits for one RPC per lane, and has six connections itself.
LANE_SLACK_SECONDS = 5.0  # The time for the way to a lane and back.
COORDINATOR_IDLE_SECONDS = 3_600.0
SWEEP_BACKOFF_DOUBLINGS_MOST = 6
SEEN_SECONDS = 150.0  # A trigger writes its last time again when this is older: one row in this time for each trigger.
SWEEP_SEEN_SECONDS = 90.0  # The same time for the sweep, which cron starts every 60 s.
EARLY_SECONDS_ALLOWED = 1.0  # A continuation that arrives this early counts as on time.

# --- Sums over ended tasks, for metrics and plots ---------------------------------------------------------
HISTORY_SECONDS = 172_800.0  # How long the Worker keeps the sums of five minutes.
HISTORY_BUCKET_SECONDS = 300.0
HISTORY_HOURS_DEFAULT = 24
FOLD_TASKS_MOST = {"free": 500, "paid": 5_000}  # Tasks that one transaction adds up: it reads three rows for each.
FOLD_PAGES_MOST = {"free": 1, "paid": 5}  # Transactions that add up tasks in one sweep.
SAMPLE_TASKS_MOST = {"free": 1_000, "paid": 10_000}  # Unfinished tasks that are counted: two rows are read for each.
METRICS_TENANTS_MOST = 20  # The tenants whose use of their limits is shown: those with the highest use.
METRICS_TENANTS_READ = 1_000

# --- Requests that replace cron, queue or alarms -----------------------------------------------------------
LATE_TASK_SECONDS = 60.0  # A poll dispatches a task without a worker that has been due for so long; once in this time.
SENDS_IN_VAIN = 2  # After so many dispatches in vain, a request works on the task itself.
STAND_IN_SECONDS = 20.0  # How long calls may go on after a poll's answer; platform: waitUntil is cut 30 s after it.
ASKED_SWEEP_APART_SECONDS = 30.0  # `POST /api/sweep` runs at most once in this time.
ASKED_SWEEP_SECONDS = 25.0  # How long such a sweep starts calls; the request is answered when the last call has ended.
SWEEP_MISSED_SECONDS = 180.0  # After this long without a sweep, a request runs one after its answer.
SWEEP_LOOK_SECONDS = 60.0  # An isolate checks for a missed sweep at most once in this time.

# --- Webhooks -----------------------------------------------------------------------------------------------
WEBHOOK_ENDPOINTS_MOST = 10  # The endpoints of a tenant.
WEBHOOK_NAME_CHARS_MOST = 100
WEBHOOK_URL_CHARS_MOST = 2_000
OLD_SECRET_SECONDS = 86_400  # How long the previous secret may also sign.
DELIVERY_SECONDS = 15.0  # The longest time of one attempt.
DELIVERY_HELD_SECONDS = 60.0  # How long a delivery belongs to the sender that took it: one attempt, and its record.
DELIVERIES_AT_ONCE = 5  # Platform: six connections of one invocation may wait for their headers.
DELIVERY_START_SECONDS = 10.0  # A sender starts attempts for this long; platform: waitUntil has 30 s.
DELIVERIES_A_SWEEP = {"free": 5, "paid": 100}
DELIVERIES_OF_ENDPOINT = 20  # Deliveries that a sweep takes if the endpoint's last attempt failed.
DELIVERIES_WALK_MOST = 500  # Deliveries of a tenant or endpoint that one sweep reads, and that one statement ends.
# After each failure in a row; the last value repeats. Together the delays take most of a day.
DELIVERY_WAITS_SECONDS = (5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0)
DELIVERY_SECONDS_MOST = 86_400.0  # The time from a delivery's beginning to its last attempt.
# After this time a delivery is given up that could not be tried because its endpoint was paused.
DELIVERY_SECONDS_KEPT = 90_000.0
DELIVERY_RETRY_AFTER_SECONDS_MOST = 3_600.0
DELIVERY_ATTEMPTS_SHOWN = 20
BREAKER_FAILURES = 5  # After so many failures in a row an endpoint is paused, and one attempt at a time probes it.
BREAKER_SECONDS_FIRST = 30.0  # The first pause of an endpoint; the pause doubles with each further failure.
BREAKER_SECONDS_MOST = 1_800.0

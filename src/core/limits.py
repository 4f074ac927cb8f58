"""Every stated limit, with the platform's own figure beside it.

Sources: Cloudflare's published limits for Workers, D1, Queues and Durable Objects, as of November 2026.
"""

# --- What a client may send -------------------------------------------------------------------------
INPUT_BYTES_DEFAULT = 1_000_000
INPUT_BYTES_MOST = 1_850_000  # D1: a row holds at most 2,000,000 bytes, and this one has instructions and cuts too
INSTRUCTIONS_CHARS_MOST = 20_000
METADATA_BYTES_MOST = 4_096
MODEL_OPTIONS_BYTES_MOST = 4_096
OUTPUT_TOKENS_MOST = 1_000_000
TEMPERATURE_MOST = 2.0
MODEL_CHARS_MOST = 200
CHUNK_CHARS_MOST = 1_000_000
SENT_CHARS_MOST = 25_000_000  # by a task's chunks, overlaps and instructions included: what it costs is bounded too
CHUNKS_MOST = 5_000  # one row each; a task this long is some 15 minutes of six calls at a time
SMALL_BODY_BYTES_MOST = 10_000  # of a request that holds no text
BODY_OVERHEAD_BYTES = 300_000  # instructions, metadata and JSON around `input`
BODY_ESCAPE_FACTOR = 6  # "\u0001" is six bytes of JSON for one byte of text
WAIT_SECONDS_MOST = 25
WAIT_POLL_SECONDS = 0.5  # `?wait=` reads D1 at most twice a second
WAIT_TOLD_SECONDS = 5.0  # and so often where whoever works on the task tells when it has ended
# Who waits for a task looks into the isolate's memory: after 50 ms, or a fraction of the time without news, at most so
# much. A look there takes some half a millisecond of CPU.
NEAR_SECONDS = 0.05
NEAR_SECONDS_MOST = {"free": 1.0, "paid": 0.1}
NEAR_FRACTION = 1 / 16
NEAR_FRACTION_UNKNOWN = 1 / 2  # while no worker of the isolate is known to have the task
MARKS_MOST = 1_000  # tasks in that memory
AUDIENCE_MOST = 32  # callers that an object holds; platform: 32,000 requests wait at one, each with memory of its own
RESPONSE_METADATA_PAIRS_MOST = 16  # of `metadata` on /v1, as at OpenAI
RESPONSE_METADATA_KEY_CHARS_MOST = 64
RESPONSE_METADATA_VALUE_CHARS_MOST = 512
JOINING_TIMEOUT_SECONDS = 600.0  # of an SDK that does not say: OpenAI's default
JOINING_PAUSE_SECONDS = 130.0  # from an SDK's timeout to its next sending: Retry-After up to 120 s, and the way
JOINING_SECONDS_MOST = 1_200  # after so long a repetition on /v1 joins nothing
RESPONSE_UNSTORED_SECONDS = 3_600  # how long a response of `store: false` is kept after its end
LIST_LIMIT_DEFAULT = 20
LIST_LIMIT_MOST = 100
WAIT_READS_FREE = 5  # `?wait=` on PLAN=free: reads of D1 in all
CANCEL_ANSWER_SECONDS = 25.0  # a cancellation or a deletion is answered within this; START_SECONDS of it may be held
BULK_TASKS_MOST = 100  # that one request puts back or cancels
BULK_COUNT_MOST = 10_000  # tasks that a dry run of it counts: it reads two rows for each
BULK_SEND_SECONDS = 10.0  # for how long a bulk retry sends tasks off; the sweep has the others
# A stream of events looks at its task once in a second at most, and less often while nothing happens: news is late by a
# second, or by a quarter of the time that it has taken, up to the most. It ends, for its client to come back, after so
# many reads of D1, or seconds: on the free plan an invocation has 10 ms of CPU, and a read takes one or two of them.
EVENT_LOOK_SECONDS_LEAST = 1.0
EVENT_LOOK_SECONDS_MOST = 10.0
EVENT_READS = {"free": 6, "paid": 600}
EVENT_SECONDS = 600.0
EVENT_CHUNKS_AT_ONCE = 16  # that one look reads; an output has up to OUTPUT_CHARS_MOST
EVENT_COMMENT_SECONDS = 5.0  # between comments, whatever the database is doing
EVENT_KEY_SECONDS = 45.0  # for so long a stream takes its key for valid: a revoked one's ends within 60 s, a look later
EVENT_RETRY_MS = 500  # after which the client of a stream that ended early comes back
EVENT_HELP_SECONDS = 60.0  # how often a stream does something for a task that nobody comes for
REQUEST_PERIOD_SECONDS = 60  # wrangler.toml: the period of RATE_LIMITER; platform: 10 or 60
RATE_LIMITER_SECONDS = 1.0  # a limiter that takes longer lets the request through

# --- Keys -------------------------------------------------------------------------------------------
KEYS_MOST = 100  # of a tenant
KEY_LABEL_CHARS_MOST = 100
KEY_BODY_BYTES_MOST = 10_000
KEY_SECONDS_MOST = 315_360_000  # ten years
KEY_CACHE_SECONDS = 60.0  # how long an isolate takes a key for valid without asking: how late a revocation may be
KEY_CACHE_MOST = 1_000  # keys in an isolate's memory
REFUSED_CACHE_SECONDS = 10.0  # how long an isolate refuses a text again without asking: how late a new key may be
REFUSED_CACHE_MOST = 1_024  # texts in an isolate's memory, each by 32 bytes
LOOKUPS_AT_ONCE = 20  # of keys that an isolate does not know: a flood of them costs no more D1 calls than these,
LOOKUPS_A_SECOND = 5.0  # and so many more a second; keys that are found cost none of them

# --- Status -----------------------------------------------------------------------------------------
MODEL_CHECK_SECONDS = 15.0  # an isolate asks the provider at most this often
DATABASE_CHECK_SECONDS = 1.0  # the same of the database, for `GET /api/async-status`

# --- What a model may answer ------------------------------------------------------------------------
OUTPUT_CHARS_MOST = 200_000
REPLY_BYTES_MOST = 1_048_576
FINISH_REASON_CHARS_MOST = 40  # of the provider's word for why an output ends; the rest of it is left out

# --- What a tenant may have ---------------------------------------------------------------------------
IDEMPOTENCY_SECONDS = 86_400
IDEMPOTENCY_KEY_CHARS_MOST = 255
DEADLINE_SECONDS_MOST = 2_592_000  # 30 days
MODEL_CALLS_MOST = 1_000_000
TASKS_IN_FLIGHT_MOST = 10_000  # of MAX_TASKS_IN_FLIGHT: a submission reads a row or two for each
CHARACTERS_A_DAY_MOST = 1_000_000_000_000
IN_FLIGHT_RETRY_SECONDS = 10
OBJECTS_AT_WORK_MOST = 10_000  # of MAX_OBJECTS_AT_WORK: a dispatch reads a row or two for each

# --- Merging ----------------------------------------------------------------------------------------
MERGE_CHARS_LEAST = 2_000  # a merge call never takes less than this, however small the chunks are

# --- D1 ---------------------------------------------------------------------------------------------
PIECE_BYTES_MOST = 900_000  # before compression: of hexadecimal digits, a parameter or a value; D1: 2,000,000
SEGMENT_BYTES = 32_768  # compressed: a segment that has so many takes no more; each write to one writes it whole
COMPRESSION_LEVEL = 6
WINDOW_CHARS_MOST = (
    131_072  # of text that a run reads at once: a task of up to so many is read whole by its first claim
)
WINDOW_CHUNKS_LEAST = (
    40  # chunks that a claim's window has at least, if the text fits: a run on the free plan may do these
)
MERGE_CALLS_READ = 32  # a run reads the outputs of so many calls of a merge at once
OUTPUTS_KEPT_CHARS = 4_000_000  # of a merge's outputs that a run keeps in memory; it reads the others again
ANSWER_CHARS_AT_ONCE = 2_000_000  # of outputs that an answer reads at once: a longer one is sent in parts as it is read
STORE_SENDS = 3  # a write is sent at most this often; each one is safe to send again
STORE_RESEND_SECONDS = 0.1
STORE_SECONDS = 30.0  # a call without an answer by then is given up; what it wrote may land all the same, even later
STORE_SECONDS_OF_REQUEST = 10.0  # the same for the HTTP API, where somebody waits
LATE_SECONDS_MOST = 3_600.0  # how long a write that was given up is reckoned with: seen are seconds, and clocks jump
OVERLOAD_SECONDS = 5.0  # while D1 takes longer than this for an answer, an isolate takes no new task
OVERLOAD_PROBE_SECONDS = 5.0  # then it lets one through after so long, to see
OVERLOAD_FORGET_SECONDS = 60.0  # a call is given up after STORE_SECONDS: of one older than this the caller is gone
# Platform: a database holds 500 MB on the free plan and 10 GB on the paid one, in millions of bytes. STORAGE_MB_MOST
# leaves a twentieth and more of it to what running tasks have still to store.
STORAGE_MB_MOST = {"free": 450, "paid": 9_500}
CLEAR_FRACTION = 0.9  # of STORAGE_MB_MOST: from there on ended tasks are erased before their retention is over
CLEAR_TASKS_MOST = 40  # in a transaction
CLEAR_PAGES_MOST = {"free": 1, "paid": 10}  # of a sweep
CLEAR_WALK_MOST = 1_000  # tasks that such a page looks at: those that may not go yet, too
KEPT_SECONDS_LEAST = 86_400.0  # after its end no task is erased for want of room
STORAGE_COUNT_SECONDS = 21_600.0  # how long a count of what tenants store is good for: it reads a row a task
STORAGE_TENANTS_MOST = 50  # that are counted: those that store most
STORAGE_MEASURE_SECONDS = 10.0  # how long an isolate refuses new tasks before it looks at the size again
STORAGE_REST_SECONDS = 600.0  # how long a task rests that found no room for the output of a call
ROOM_BYTES_A_CALL = 65_536  # what a call must find room for where the database is tight; most outputs take 4 KB
ROOM_BYTES_MOST = 1_500_000  # of all calls of a run together; D1: a row of 2,000,000
AHEAD_COUNTED_SECONDS = 5.0  # how long a task has waited when a poll counts those that are before it
AHEAD_COUNTED_MOST = 100  # tasks of a tenant that go on: of more nobody counts
LIST_WALK_MOST = 500  # tasks that a page of one status passes over at most

# --- Processing -------------------------------------------------------------------------------------
# How long a run starts calls at most, and when the platform ends the invocation (Workers, Limits: duration; Queues,
# Limits: consumer wall time; Durable Objects, Alarms). `processing/allowance.py` makes slices of the two.
QUEUE_SLICE_SECONDS = 600.0
QUEUE_WALL_SECONDS = 900.0  # platform: 15 minutes for a consumer
DIRECT_SLICE_SECONDS = 20.0
DIRECT_WALL_SECONDS = 30.0  # platform: waitUntil is cut 30 s after the answer
SWEEP_SLICE_SECONDS = 600.0
SWEEP_WALL_SECONDS = 900.0  # platform: 15 minutes for a cron trigger
OBJECT_SLICE_SECONDS = 300.0
OBJECT_WALL_SECONDS = 900.0  # platform: 15 minutes for an alarm
WALL_MARGIN_SECONDS = 5.0  # START_SECONDS before a call, and the write of its end; with the last call all lingers end
SUBREQUESTS = {"free": 45, "paid": 900}  # platform: 50; 10,000 on the paid plan, where D1's 1,000 queries end first
STATEMENTS = {"free": 45, "paid": 900}  # platform: as many statements of D1, each one of a batch counted
RUN_LEAST = 20  # subrequests, and statements, that an invocation must have left for a run to be worth starting
# From the announcement of calls: those that have not started then are announced again, later. The window grows with the
# latency of the database: so many times what a write takes, and a second more, between these two.
START_SECONDS = 2.0
START_SECONDS_MOST = 20.0
START_LATENCIES = 2.0
START_SECONDS_MORE = 1.0
LATENCY_SECONDS_KEPT = 60.0  # what an isolate knows of the database's latency is forgotten after that
START_PAUSE_SECONDS_FIRST = 1.0  # after an announcement of which no call started; doubles with each one in a row
START_PAUSE_SECONDS_MOST = 30.0
FRUITLESS_MOST = 3  # so many such announcements in a row, with no call out: the run gives its task back
IDLE_SECONDS_FIRST = 5.0  # how long that task is left alone; doubles with each run that started nothing
IDLE_SECONDS_MOST = 600.0
WRITES_A_CALL = 2  # of a worker, for each call that has ended: its record, and the announcement of the next one
WRITES_A_MINUTE = 2  # of a worker beyond that, whatever fails
WRITES_AT_FIRST = 5  # that a run may make at once: a claim, three fruitless announcements, and the release
WRITES_AT_FIRST_IDLE = 2  # the same after a run that started nothing: a claim, and one announcement
# How long a finished call waits for company, so that they are recorded together: each write is two rows and a D1 call.
# Nothing goes out in its place meanwhile: a task of uneven calls takes some 8 to 11 % longer for it. While no call of a
# run has taken QUICK_CALL_SECONDS, its news reaches a stream within two seconds.
LINGER_FRACTION = 0.2  # of the calls' own duration; all of it where no other call could start
LINGER_SECONDS_QUICK = 0.7  # at most, while calls are quick: a stream then looks within 1.25 s
LINGER_SECONDS_MOST = 2.0
QUICK_CALL_SECONDS = 5.0
# A run that waits for slow calls looks whether its task goes on: so long after its last write, then twice as long after
# each look, up to the most; so many times a run. A slow database is asked once in so many latencies.
LOOK_SECONDS_FIRST = 5.0
LOOK_SECONDS_MOST = 10.0  # the host of a cancelled task is free within 15 s: the calls' own end, and a write, included
LOOK_LATENCIES = 10.0
LOOKS_MOST = {"free": 10, "paid": 100}
TELL_SECONDS = 2.0  # how long a cancellation waits for the object that it tells, and an object for a lane
CANCEL_SECONDS_MOST = 22.0  # how long a cancellation is held; the contract: it answers within 25 s, its reads included
DROP_SECONDS_MOST = 1.0  # how long a run waits for calls that it cancelled to close their connections
INLINE_WAIT_SECONDS_MOST = 30.0  # longer waits give the claim back
# Hosted, the clock moves in timers alone, and Pyodide's own loop takes none for 2 ms or less.
TIMER_SECONDS_LEAST = 0.003  # what waits for a moment of the clock waits longer, or it might wait for ever

# --- A task whose workers die -------------------------------------------------------------------------
STALL_REST_SECONDS = 500.0  # from the first claim of a row without a finished call to the last
STALL_SECONDS_LEAST = 600.0  # from the first claim of such a row until the task fails for it

# --- Retry ------------------------------------------------------------------------------------------
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MOST = 60.0
AWAY_SECONDS_FIRST = 1.0  # between two calls that ask whether a model is back; doubles with each that fails
AWAY_SECONDS_MOST = 300.0  # at most 32 of them an hour, whatever the jitter
AWAY_SECONDS_KEPT = 900.0  # what an isolate knows of a model that is away is forgotten after that
AWAY_NEWCOMER_SECONDS = 5.0  # a task that has not met the trouble itself asks so long after the last one who did
AWAY_TURN_SECONDS = 30.0  # one that has, and whose pause is over, waits no longer than that for another's question
AWAY_CLOCK_SECONDS = 5.0  # by which the database's clock and an isolate's may seem to differ, an answer's way included
AWAY_LOOK_SECONDS = 2.0  # how often a waiting run looks whether another one of its isolate has had a success
# A run of the queue holds a consumer that other tasks may need, so it waits only so long while its model is away; after
# another failure it waits for UNCOUNTED_SECONDS_MOST at most, which no pause of a brown-out exceeds.
QUEUE_AWAY_WAIT_SECONDS_MOST = 2.0
QUEUE_TURN_WAIT_SECONDS_MOST = 120.0  # for so long it gives a task back that only waited for its turn to ask
NEWS_MODELS_MOST = 1_000  # tenants and models in an isolate's memory, some 3 KB each

# --- Failures of the service: see `core/failures.py` ------------------------------------------------------
OTHERS_MOST = 10  # chunks of the tenant by whose latest calls a chunk's failure is judged
OTHERS_LEAST = 3
OTHERS_SECONDS = 900.0  # an older call says nothing
OTHERS_SHARE = 0.8  # of them must have succeeded for the failure to be the chunk's own
LATEST_CALLS_KEPT = OTHERS_MOST + 1
FAILURES_COUNTED_MOST = 10  # of a chunk
COUNTED_PAUSES_SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 160.0, 160.0, 160.0)  # after each of them but the last
UNCOUNTED_SECONDS_MOST = 8.0  # after one that does not count, unless the model is away; the contract: 10 s
BROWN_OUT_SECONDS = 30.0  # since the tenant's last success: for so long a model that fails is not away
WIDEN_SECONDS = 10.0  # from the last failure until a run is as wide as usual
TELL_CALLS_SECONDS = 300.0  # since the last failure: for so long isolates tell each other of their calls
PATIENCE_SECONDS_MOST = 86_400
RATE_LIMIT_SECONDS_FIRST = 2.0  # where the provider does not say how long
RATE_LIMIT_SECONDS_LEAST = 0.125  # where it does, at first: a Retry-After of 0 would make a storm of calls
RATE_LIMIT_SECONDS_MOST = 3_600.0
RATE_LIMIT_WAITS_MOST = 100  # in a row, without one finished call in between: then the task fails

# --- A day on the free plan -----------------------------------------------------------------------------
# Platform: per account, from midnight UTC to midnight UTC. The names are those of `usage` in /api/async-status.
FREE_PLAN_DAY = {
    "requests": 100_000,  # of the Worker: HTTP, and runs of cron and queue
    "rowsRead": 5_000_000,  # of D1
    "rowsWritten": 100_000,  # of D1, index entries included
    "queueOperations": 10_000,  # a message that is delivered once makes three
    "objectRequests": 100_000,  # calls and alarms
    "objectRowsWritten": 100_000,  # in the objects' own storage, alarms included
    "objectGbSeconds": 13_000,  # an object at work counts 128 MB
}

# --- Dispatch and sweep -----------------------------------------------------------------------------
QUEUE_SHARE = 100  # tasks of a tenant that may stand in the queue; further ones go to objects of their own
SEND_SECONDS = 5.0  # a send that takes longer counts as failed, and the next route is tried
QUEUE_DELIVERIES = 3  # wrangler.toml: max_retries = 2
QUEUE_DELAY_SECONDS_MOST = 43_200  # platform: 12 hours
QUEUE_RETRY_SECONDS = 30
SWEEP_PAGE_TASKS = 100  # looked at together; pages go on as long as the allowance of the run lasts
SWEEP_TURNS = 37  # tenants by which the turns move on: as many as a run can send at least, and prime
PLACES_WALK_MOST = 500  # tasks of a tenant that are looked at for a free place, beyond MAX_OBJECTS_AT_WORK
PLACES_GIVEN_MOST = {"free": 10, "paid": 500}  # places that a sweep gives to tasks that wait
SWEEP_QUEUE_SHARE = 10  # tasks of a tenant that a run adds to the queue; further ones go to objects of their own
ERASE_OUTPUTS_MOST = 5_000  # chunks of the tasks that one transaction of the sweep erases
ERASE_TASKS_MOST = {"free": 40, "paid": 200}  # tasks that one transaction erases
ERASE_PAGES_MOST = {"free": 1, "paid": 5}  # such transactions of a run: 1,440,000 tasks a day on the paid plan
OBJECT_FAILURES_MOST = 6
OBJECT_START_SECONDS = 5.0  # an object that was started counts as about to work for so long
OBJECT_RETURN_SECONDS = 10.0  # from the start of a slice that dies; platform: no alarm rings while one is at work

# --- Lanes of a long task, where objects are bound ------------------------------------------------------
LANE_CALLS = 6  # platform: connections of one invocation that may wait for their headers
LANE_CHUNKS = 24  # a lane for this many chunks
LANES_FROM_CHUNKS = 2 * LANE_CHUNKS  # one lane is none: a task with fewer chunks works alone
LANES_MOST = 5  # the task's host waits for one RPC a lane, and has six connections itself
LANE_SLACK_SECONDS = 5.0  # for the way to a lane and back
COORDINATOR_IDLE_SECONDS = 3_600.0
SWEEP_BACKOFF_DOUBLINGS_MOST = 6
SEEN_SECONDS = 150.0  # what a trigger writes about itself is at most this old: a row in this time for each kind
SWEEP_SEEN_SECONDS = 90.0  # the same for the sweep, which cron begins every 60 s
EARLY_SECONDS_ALLOWED = 1.0  # a continuation that comes this much before its time is on time

# --- Sums over ended tasks, for metrics and plots ---------------------------------------------------------
HISTORY_SECONDS = 172_800.0  # for how long the sums of five minutes are kept
HISTORY_BUCKET_SECONDS = 300.0
HISTORY_HOURS_DEFAULT = 24
FOLD_TASKS_MOST = {"free": 500, "paid": 5_000}  # that one transaction adds up: it reads three rows for each
FOLD_PAGES_MOST = {"free": 1, "paid": 5}  # such transactions of a sweep
SAMPLE_TASKS_MOST = {"free": 1_000, "paid": 10_000}  # that go on and are counted: it reads two rows for each
METRICS_TENANTS_MOST = 20  # whose use of their limits is shown: those who use most
METRICS_TENANTS_READ = 1_000

# --- What somebody asks for, where cron, queue or alarms do not come ---------------------------------------
LATE_TASK_SECONDS = 60.0  # a poll sends a task off that nobody holds and that is due for so long; once in this time
SENDS_IN_VAIN = 2  # so often a task is sent off again before whoever asks for it works on it
STAND_IN_SECONDS = 20.0  # how long calls may go on after a poll's answer; platform: waitUntil is cut 30 s after it
ASKED_SWEEP_APART_SECONDS = 30.0  # `POST /api/sweep` runs at most once in this time
ASKED_SWEEP_SECONDS = 25.0  # for how long it starts calls; it answers when the last one has ended
SWEEP_MISSED_SECONDS = 180.0  # without a sweep for so long, a request runs one after its answer
SWEEP_LOOK_SECONDS = 60.0  # an isolate looks for that at most this often

# --- Webhooks -----------------------------------------------------------------------------------------------
WEBHOOK_ENDPOINTS_MOST = 10  # of a tenant
WEBHOOK_NAME_CHARS_MOST = 100
WEBHOOK_URL_CHARS_MOST = 2_000
OLD_SECRET_SECONDS = 86_400  # for how long the secret before this one may sign, too
DELIVERY_SECONDS = 15.0  # an attempt
DELIVERY_HELD_SECONDS = 60.0  # how long nobody else sends what somebody has taken on: an attempt, and its record
DELIVERIES_AT_ONCE = 5  # platform: six connections of one invocation may wait for their headers
DELIVERY_START_SECONDS = 10.0  # so long after its beginning a sending starts attempts; platform: waitUntil has 30 s
DELIVERIES_A_SWEEP = {"free": 5, "paid": 100}
DELIVERIES_OF_ENDPOINT = 20  # that one sweep takes on, if its last attempt failed
DELIVERIES_WALK_MOST = 500  # of a tenant, or of an endpoint, that a sweep looks at; and that one statement ends
# After each failure in a row, then the last one again; all of them together are most of a day.
DELIVERY_WAITS_SECONDS = (5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0)
DELIVERY_SECONDS_MOST = 86_400.0  # from its beginning to the last attempt
DELIVERY_SECONDS_KEPT = 90_000.0  # then one that nobody could try, for a pause of its endpoint, is given up
DELIVERY_RETRY_AFTER_SECONDS_MOST = 3_600.0
DELIVERY_ATTEMPTS_SHOWN = 20
BREAKER_FAILURES = 5  # attempts in a row that fail: then an endpoint rests, and one attempt at a time asks
BREAKER_SECONDS_FIRST = 30.0  # doubles with each further failure
BREAKER_SECONDS_MOST = 1_800.0

"""All limits of the service in one place, each with the platform's own limit in a comment if the platform has one.

The platform's figures are Cloudflare's published limits for Workers, D1, Queues and Durable Objects, as of November
2026.
"""

# --- What a client may send -------------------------------------------------------------------------
INPUT_BYTES_DEFAULT = 1_000_000
# D1 allows 2,000,000 bytes in a row; the input's row also has the instructions and the cuts.
INPUT_BYTES_MOST = 1_850_000
INSTRUCTIONS_CHARS_MOST = 20_000
METADATA_BYTES_MOST = 4_096
MODEL_OPTIONS_BYTES_MOST = 4_096
OUTPUT_TOKENS_MOST = 1_000_000
TEMPERATURE_MOST = 2.0
MODEL_CHARS_MOST = 200
CHUNK_CHARS_MOST = 1_000_000
# The most characters that all calls for a task's chunks may send, overlaps and instructions included, to bound the
# cost.
SENT_CHARS_MOST = 25_000_000
CHUNKS_MOST = 5_000  # Each chunk takes one row. A task of 5,000 chunks takes about 15 minutes with six calls at a time.
SMALL_BODY_BYTES_MOST = 10_000  # The most bytes in the body of a request that carries no input text.
BODY_OVERHEAD_BYTES = 300_000  # The most bytes that a request's body may have in addition to `input`.
BODY_ESCAPE_FACTOR = 6  # One byte of text, such as "\u0001", may take six bytes of JSON.
WAIT_SECONDS_MOST = 25
WAIT_POLL_SECONDS = 0.5  # A request with `?wait=` reads D1 at most twice a second.
# The seconds between two reads of D1 by a request with `?wait=`, if the task's host will notify the request of the
# task's end.
WAIT_TOLD_SECONDS = 5.0
# A request that waits for a task checks the isolate's memory for changes of the task, which takes 0.5 ms of CPU. The
# check comes after a fraction of the time since the task's last change, but at least NEAR_SECONDS and at most
# NEAR_SECONDS_MOST after the check before.
NEAR_SECONDS = 0.05
NEAR_SECONDS_MOST = {"free": 1.0, "paid": 0.1}
NEAR_FRACTION = 1 / 16
NEAR_FRACTION_UNKNOWN = 1 / 2  # The value of NEAR_FRACTION while no worker of the isolate is known to have the task.
MARKS_MOST = 1_000  # The most tasks whose progress an isolate remembers.
# The most calls that may wait at a Durable Object; the platform allows 32,000, but each takes memory.
AUDIENCE_MOST = 32
RESPONSE_METADATA_PAIRS_MOST = 16  # The most pairs in `metadata` of a request to /v1, as at OpenAI.
RESPONSE_METADATA_KEY_CHARS_MOST = 64
RESPONSE_METADATA_VALUE_CHARS_MOST = 512
# The timeout that is assumed for a client's SDK that states none; it is OpenAI's default.
JOINING_TIMEOUT_SECONDS = 600.0
# The longest time from a timeout in a client's SDK to the next time that the SDK sends the request: a Retry-After of up
# to 120 s, and the time for the transfer.
JOINING_PAUSE_SECONDS = 130.0
JOINING_SECONDS_MOST = 1_200  # The greatest age of a task with which a repeated request to /v1 may be answered.
RESPONSE_UNSTORED_SECONDS = 3_600  # How long a response with `store: false` is kept after its end.
LIST_LIMIT_DEFAULT = 20
LIST_LIMIT_MOST = 100
WAIT_READS_FREE = 5  # The most reads of D1 by one request with `?wait=`, on PLAN=free.
CANCEL_ANSWER_SECONDS = 25.0  # Within how many seconds the API answers a cancellation or deletion, even if D1 is slow.
BULK_TASKS_MOST = 100  # The most tasks that one bulk request retries or cancels.
# The most tasks that a dry run of a bulk request counts; counting reads two rows for each task.
BULK_COUNT_MOST = 10_000
BULK_SEND_SECONDS = 10.0  # For how long a bulk retry dispatches its tasks itself; the sweep dispatches the rest.
# A stream of events reads its task at most once a second, and less often while nothing changes. The client learns of a
# change of the task up to a second late, or up to a quarter of the time between this change and the change before, at
# most EVENT_LOOK_SECONDS_MOST late. A stream of events ends after EVENT_READS reads of the task or after EVENT_SECONDS,
# and the client then opens the stream again. A stream's read of its task takes 1 or 2 ms of CPU; the free plan allows
# 10 ms.
EVENT_LOOK_SECONDS_LEAST = 1.0
EVENT_LOOK_SECONDS_MOST = 10.0
EVENT_READS = {"free": 6, "paid": 600}
EVENT_SECONDS = 600.0
# The most chunks that one read of a stream of events returns, each with up to OUTPUT_CHARS_MOST.
EVENT_CHUNKS_AT_ONCE = 16
EVENT_COMMENT_SECONDS = 5.0  # How often a stream of events sends a comment, even if D1 is slow.
# How long a stream of events trusts its API key without checking it again: after the key is revoked, the stream ends
# within 60 s, one read included.
EVENT_KEY_SECONDS = 45.0
EVENT_RETRY_MS = 500  # The pause that a stream of events asks of a client before it reopens the stream.
EVENT_HELP_SECONDS = 60.0  # How often a stream of events helps a task that no host works on.
REQUEST_PERIOD_SECONDS = 60  # The period of RATE_LIMITER in wrangler.toml, in seconds; the platform allows 10 or 60.
RATE_LIMITER_SECONDS = 1.0  # How long a request waits for the rate limiter before it is let through.

# --- Keys -------------------------------------------------------------------------------------------
KEYS_MOST = 100  # The most API keys that a tenant may have.
KEY_LABEL_CHARS_MOST = 100
KEY_BODY_BYTES_MOST = 10_000
KEY_SECONDS_MOST = 315_360_000  # The seconds of ten years.
# How long an isolate trusts an API key without asking D1, and so how long a revoked key may still work.
KEY_CACHE_SECONDS = 60.0
KEY_CACHE_MOST = 1_000  # The most API keys that an isolate remembers.
REFUSED_CACHE_SECONDS = 10.0  # How long an isolate refuses a text that was no valid API key, without asking D1 again.
# The most texts refused as API keys that an isolate remembers, each of which takes 32 bytes.
REFUSED_CACHE_MOST = 1_024
# How many lookups of unknown API keys may run at the same time; a flood of unknown keys therefore makes no more D1
# calls at once.
LOOKUPS_AT_ONCE = 20
# How many further lookups of unknown API keys may start per second; lookups that find a key do not count.
LOOKUPS_A_SECOND = 5.0

# --- Status -----------------------------------------------------------------------------------------
# How often an isolate may check whether the model's provider answers, to show this in the status.
MODEL_CHECK_SECONDS = 15.0
DATABASE_CHECK_SECONDS = 1.0  # How often an isolate may ask whether D1 answers, for `GET /api/async-status`.

# --- What a model may answer ------------------------------------------------------------------------
OUTPUT_CHARS_MOST = 200_000
REPLY_BYTES_MOST = 1_048_576
# The most characters of a rejected answer that are stored and shown to the model when it is asked again.
REJECTED_CHARS_MOST = 8_000
FAULTS_MOST = 10  # The most faults of a rejected answer that are reported.
# The most characters of a fault's JSON pointer, and of the text that says what was expected there.
FAULT_CHARS_MOST = 200
# The most characters of the provider's reason for the end of an output; a longer reason is cut off.
FINISH_REASON_CHARS_MOST = 40

# --- Batches ----------------------------------------------------------------------------------------
BATCH_BODY_BYTES_MOST = 60_000  # `metadata` of 16 pairs may take 55,296 bytes of JSON.
BATCH_LINES_MOST = 20_000  # The most lines of a batch, blank lines not counted.
BATCH_LINE_BYTES_MOST = 1_000_000  # The most bytes of a batch's line, without the end of the line.
BATCH_WINDOW_HOURS_MOST = 168  # A week.
# The most bytes of lines in one answer that shows a batch's output file while the file still grows: the file is read in
# pieces of BATCH_SLICE_BYTES.
EARLY_BYTES_MOST = {"free": 8 * 1_024 * 1_024, "paid": 64 * 1_024 * 1_024}
# The most bytes of a batch's files that a run holds in memory at once, not counting single lines.
BATCH_SLICE_BYTES = 1_048_576
# How many slices of a batch's input file one run checks or one writer reads: each slice takes some 0.1 s of CPU.
BATCH_SLICES_A_RUN = {"free": 4, "paid": 100}
# The most memory for a batch's lines whose calls are in flight or that a run has read ahead.
BATCH_LINES_KEPT_BYTES = 8_388_608
# From so many characters on, a segment of a batch takes no more lines, because an object in the bucket is made of whole
# segments.
SEGMENT_CHARS_OF_BATCH = 1_048_576
RETRY_READ_BYTES_MOST = 4 * 1_024 * 1_024  # The most bytes that a retry of a batch reads of its input at once.
# The first pause of a run that cannot read a batch's lines; the pause doubles with each failure.
BATCH_READ_PAUSE_SECONDS = 1.0
# For how long after its last write a writer may complete the files of a batch, before another writer may take the
# batch.
WRITER_SECONDS = 60.0
# How long a writer of a batch's files works in one invocation; the platform cuts `waitUntil` after 30 s.
WRITER_SLICE_SECONDS = 20.0
BATCHES_WRITTEN_A_SWEEP = {"free": 1, "paid": 20}  # The most batches whose files one sweep completes.
BATCH_ERRORS_MOST = 100  # The most faults of its lines that a batch reports.
CUSTOM_ID_CHARS_MOST = 64
# The most characters of the answer in a line of a batch's output file, and the most of the whole line. The line is
# ASCII, so a character is a byte. A line of random letters, compressed and then written in hexadecimal digits, still
# fits into the 2,000,000 bytes that D1 allows.
ANSWER_CHARS_MOST = 1_000_000
OUTPUT_LINE_CHARS_MOST = 1_100_000
# The most choices in an answer of the model: each choice may grow by some 110 characters in a line of a batch.
ANSWER_CHOICES_MOST = 100
REFUSAL_BYTES_MOST = 65_536  # The most bytes of the body with which a provider refused a batch's line.

# --- Structured output ----------------------------------------------------------------------------------
SCHEMA_BYTES_MOST = 32_768  # The most bytes of an output schema as compact JSON.
SCHEMA_PROPERTIES_MOST = 5_000  # The most properties of an output schema, as at OpenAI.
SCHEMA_LEVELS_MOST = 10  # The most levels of objects and arrays in an output schema, as at OpenAI.
SCHEMA_ENUM_VALUES_MOST = 1_000
VALUE_LEVELS_MOST = 64  # The most levels of nesting in an output as JSON; the limit protects Python's recursive parser.
# The most steps of the check of one output against a schema with `anyOf`; they take some 0.3 s in CPython.
BRANCH_STEPS_MOST = 100_000
JOIN_FIELDS_MOST = 5_000  # The most fields of an output that `join` may join, fields within arrays not counted.
# The largest number in a summed field, so that the sum over CHUNKS_MOST chunks still fits a double.
SUMMED_MAGNITUDE_MOST = 1e300
JOIN_BYTES_MOST = 32_768  # The most bytes of the rules of `join` as compact JSON.
SCHEMA_NAME_CHARS_MOST = 64  # OpenAI's

# --- What a tenant may have ---------------------------------------------------------------------------
IDEMPOTENCY_SECONDS = 86_400
IDEMPOTENCY_KEY_CHARS_MOST = 255
DEADLINE_SECONDS_MOST = 2_592_000  # 30 days
MODEL_CALLS_MOST = 1_000_000
# The highest allowed value of MAX_TASKS_IN_FLIGHT: a submission reads a row or two for each task in flight.
TASKS_IN_FLIGHT_MOST = 10_000
CHARACTERS_A_DAY_MOST = 1_000_000_000_000
IN_FLIGHT_RETRY_SECONDS = 10
# The highest allowed value of MAX_OBJECTS_AT_WORK: a dispatch reads a row or two for each object at work.
OBJECTS_AT_WORK_MOST = 10_000

# --- Merging ----------------------------------------------------------------------------------------
# Even if a task's chunks are small, a merge call may take so many characters of outputs.
MERGE_CHARS_LEAST = 2_000

# --- D1 ---------------------------------------------------------------------------------------------
# The most bytes that an SQL parameter may stand for. The parameter is hexadecimal and so twice as long, and D1 allows
# 2,000,000 bytes.
PIECE_BYTES_MOST = 900_000
# The compressed size from which a segment takes no more outputs, because each write to a segment rewrites the whole
# segment.
SEGMENT_BYTES = 32_768
COMPRESSION_LEVEL = 6
# The most characters of a task's text that a run reads at once; the first claim of a task with a shorter text reads the
# whole text.
WINDOW_CHARS_MOST = 131_072
# The least number of chunks that a claim reads: as many as a run on the free plan can process.
WINDOW_CHUNKS_LEAST = 40
MERGE_CALLS_READ = 32  # The most merge calls for which a run reads the outputs to be merged at once.
# The most characters of merge outputs that a run keeps in memory; the run reads other outputs again when it needs them.
OUTPUTS_KEPT_CHARS = 4_000_000
# The most characters of output that are read at once for an answer of the API; an answer with more is sent in parts.
ANSWER_CHARS_AT_ONCE = 2_000_000
STORE_SENDS = 3  # How often the store sends one write to D1 at most; every write is safe to send again.
STORE_RESEND_SECONDS = 0.1
# After how many seconds the store gives up a D1 call without an answer; the call's write may still take effect later.
STORE_SECONDS = 30.0
# After how many seconds the store gives up a D1 call of the HTTP API, where a client waits for the answer.
STORE_SECONDS_OF_REQUEST = 10.0
# How long after it was given up a write may still take effect: delays of seconds were seen, and clocks may jump.
LATE_SECONDS_MOST = 3_600.0
OVERLOAD_SECONDS = 5.0  # How long D1 may take to answer before an isolate refuses new tasks.
# How often an isolate that refuses new tasks accepts one task to probe whether D1 keeps up again.
OVERLOAD_PROBE_SECONDS = 5.0
OVERLOAD_FORGET_SECONDS = 60.0  # The age at which the caller of an unanswered D1 call has surely given up.
# Millions of bytes. A database of D1 holds 500 MB on the free plan and 10 GB on the paid one. STORAGE_MB_MOST leaves at
# least a twentieth of the space for what running tasks still have to store.
STORAGE_MB_MOST = {"free": 450, "paid": 9_500}
CLEAR_FRACTION = 0.9  # The part of STORAGE_MB_MOST above which the sweep erases ended tasks early.
CLEAR_TASKS_MOST = 40  # The most tasks that one transaction of the sweep erases before their retention is over.
CLEAR_PAGES_MOST = {"free": 1, "paid": 10}  # The most pages of tasks that one sweep erases early.
CLEAR_WALK_MOST = 1_000  # How many tasks one page of early erasure reads, whether they can be erased or not.
KEPT_SECONDS_LEAST = 86_400.0  # How long ago a task must have ended for the sweep to erase it early.
# How often the sweep counts how much each tenant stores, by reading a row for each task.
STORAGE_COUNT_SECONDS = 21_600.0
STORAGE_TENANTS_MOST = 50  # How many tenants' storage is recorded after a count: those tenants that store most.
# How often an isolate that refuses new tasks because of a full database reads the database's size.
STORAGE_MEASURE_SECONDS = 10.0
STORAGE_REST_SECONDS = 600.0  # How long a task rests after the database had no space for a call's output.
# How many bytes of space a call must find free in a database that is nearly full; most outputs take 4 KB.
ROOM_BYTES_A_CALL = 65_536
# The most bytes of space that all calls of a run together must find free; D1 allows 2,000,000 bytes a row.
ROOM_BYTES_MOST = 1_500_000
AHEAD_COUNTED_SECONDS = 5.0  # For how long a task must have waited before a poll counts the tasks ahead of it.
AHEAD_COUNTED_MOST = 100  # The most unfinished tasks of a tenant that a poll counts.
# The most tasks that a filtered page of the task list reads, and also the most tasks that its counts read.
LIST_WALK_MOST = 500
SEARCH_CHARS_MOST = 100  # The most characters of a text for which a client searches the list of tasks.
# The length to which the first line of a task's text, one of the task's possible names, is cut.
FIRST_LINE_CHARS_MOST = 120
FIRST_LINE_WITHIN_CHARS = 1_000  # How many blank characters may come before the first line of a task's text.
ATTEMPTS_LOGGED_MOST = 10  # The most failed calls that a task's log of calls keeps for one output.
ATTEMPT_MESSAGE_CHARS_MOST = 300  # The most characters of an error message in a task's log of calls.

# --- Files --------------------------------------------------------------------------------------------
FILE_BYTES_DEFAULT = 50_000_000
FILE_BYTES_MOST = 95_000_000  # The platform lets a request's body have 100 MB.
FILES_BYTES_DEFAULT = 2_000_000_000
FILES_BYTES_MOST = 10**15
# Without R2 the bytes of files are stored in the database, where they share the space with all tasks.
FILE_BYTES_MOST_IN_D1 = 1_500_000
# An isolate has 128 MB of memory, and holds a part of a file whole in memory while it stores the part.
FILE_PART_BYTES = 8 * 1_024 * 1_024
# A part of a file is an SQL parameter of hexadecimal digits, so it takes twice as many bytes; D1 allows 2,000,000.
FILE_PART_BYTES_IN_D1 = 512 * 1_024
FILE_READ_BYTES_MOST = FILE_PART_BYTES  # The most bytes of a file that are read at once.
BLOB_SENDS = 3  # How often one call to R2 is made at most, while R2 answers with a passing error.
BLOB_RESEND_SECONDS = 0.2
# After how many seconds a call to R2 without an answer is given up; a write of this call may still take effect later.
BLOB_SECONDS = 30.0
BLOB_KEYS_MOST = 1_000  # The most keys that one call to R2 lists or deletes.
FILE_ROWS_ERASED = 100  # The most parts of files in D1 that one call to D1 erases.
FORM_BYTES_MOST = 300_000  # The most bytes that the body of an upload may have in addition to the file's bytes.
FILENAME_CHARS_MOST = 255
FILE_EXPIRY_SECONDS = (3_600, 2_592_000)  # The least and the greatest value of `expires_after[seconds]`.
# The most files in a list, and their number if the request has no `limit`; both as at OpenAI.
FILE_LIST_LIMIT_MOST = 10_000
FILE_LIST_PAGE = 1_000  # The most files that one call to D1 lists.
UPLOAD_SECONDS_MOST = 3_600  # How long an upload may take; the sweep erases an upload that is not complete by then.
FILE_ERASE_SECONDS = 300  # How long after a failed erasure of a file the sweep tries again to erase the file.
FILE_IN_USE_SECONDS = 600  # How long the sweep waits before it checks again an expired file that a batch still reads.
FILES_A_SWEEP = {"free": 2, "paid": 100}  # The most files that one sweep erases; erasing a file takes two calls to R2.
ORPHAN_SECONDS = 86_400  # The age at which a file's part that no database row names counts as an orphan, and is erased.
ORPHANS_APART_SECONDS = 3_600  # How often the next page of stored parts is searched for orphans.
ORPHANS_A_PAGE = {"free": 200, "paid": 1_000}  # How many stored parts one search for orphans reads.

# --- Processing ------------------------------------------------------------------------------------- SLICE_SECONDS is
# for how long a run may start calls, and WALL_SECONDS is after how long the platform ends the run's invocation
# (Workers, Limits: duration; Queues, Limits: consumer wall time; Durable Objects, Alarms). `processing/allowance.py`
# uses both.
QUEUE_SLICE_SECONDS = 600.0
QUEUE_WALL_SECONDS = 900.0  # The platform allows a queue's consumer 15 minutes.
DIRECT_SLICE_SECONDS = 20.0
DIRECT_WALL_SECONDS = 30.0  # The platform cuts `waitUntil` 30 s after the answer to the request.
SWEEP_SLICE_SECONDS = 600.0
SWEEP_WALL_SECONDS = 900.0  # The platform allows a cron trigger 15 minutes.
OBJECT_SLICE_SECONDS = 300.0
OBJECT_WALL_SECONDS = 900.0  # The platform allows an object's alarm 15 minutes.
# The time reserved at a run's end: START_SECONDS for the last call to start, and time for the last write.
WALL_MARGIN_SECONDS = 5.0
# The most subrequests that one invocation makes; the platform allows 50 on the free plan and 10,000 on the paid plan.
SUBREQUESTS = {"free": 45, "paid": 900}
# The most D1 statements of one invocation; the platform allows 50 (free) and 1,000 (paid).
STATEMENTS = {"free": 45, "paid": 900}
RUN_LEAST = 20  # The subrequests and D1 statements that an invocation must have left to start a run.
# A model call must start within a certain time after it was announced; otherwise it is announced again. The time within
# which a call must start is START_LATENCIES times the duration of a write to D1, plus START_SECONDS_MORE, but at least
# START_SECONDS and at most START_SECONDS_MOST.
START_SECONDS = 2.0
START_SECONDS_MOST = 20.0
START_LATENCIES = 2.0
START_SECONDS_MORE = 1.0
LATENCY_SECONDS_KEPT = 60.0  # How long an isolate remembers how much time D1 took for the isolate's writes.
# The pause after calls were announced and none of them started; the pause doubles each time this happens again in a
# row.
START_PAUSE_SECONDS_FIRST = 1.0
START_PAUSE_SECONDS_MOST = 30.0
FRUITLESS_MOST = 3  # How many announcements in a row without a started call end a run that has no call in flight.
# How long a task rests after a run that started no call; the rest doubles with each such run in a row.
IDLE_SECONDS_FIRST = 5.0
IDLE_SECONDS_MOST = 600.0
# How many writes a worker may make for each ended call: to record the call, and to announce the next one.
WRITES_A_CALL = 2
WRITES_A_MINUTE = 2  # How many more writes a worker may make in a minute, even if all calls fail.
# How many writes a run may make at its start: a claim, three announcements in vain, and the release.
WRITES_AT_FIRST = 5
WRITES_AT_FIRST_IDLE = 2  # The value of WRITES_AT_FIRST after a run that started no call: a claim and one announcement.
# A finished call waits ("lingers") before it is recorded, so that several calls are recorded together, because each
# write costs two rows and a D1 call. While a finished call lingers, no new call starts in its place, so a task with
# calls of uneven duration takes some 8 to 11 % longer. A run's calls count as quick until one of them has taken
# QUICK_CALL_SECONDS; outputs of quick calls reach a stream of events within two seconds.
# The part of its own duration for which a finished call lingers; the whole duration if no new call could start.
LINGER_FRACTION = 0.2
# The longest time that quick calls linger; a stream of events then reads their outputs within 1.25 s.
LINGER_SECONDS_QUICK = 0.7
LINGER_SECONDS_MOST = 2.0
QUICK_CALL_SECONDS = 5.0
# A run that waits for slow calls checks its claim LOOK_SECONDS_FIRST after its last write. Each further pause is twice
# the last one, up to LOOK_SECONDS_MOST. The run makes at most LOOKS_MOST checks, each at least LOOK_LATENCIES times the
# duration of a write after the check before.
LOOK_SECONDS_FIRST = 5.0
# The most seconds between two checks of a claim, so that a cancelled task frees its host within 15 s.
LOOK_SECONDS_MOST = 10.0
LOOK_LATENCIES = 10.0
LOOKS_MOST = {"free": 10, "paid": 100}
# How long a cancellation waits until it has notified the task's object, and how long the object waits until it has
# notified a lane.
TELL_SECONDS = 2.0
# How long the API may delay the answer to a cancellation; the contract promises an answer in 25 s.
CANCEL_SECONDS_MOST = 22.0
DROP_SECONDS_MOST = 1.0  # How long a run waits for cancelled calls to close their connections.
INLINE_WAIT_SECONDS_MOST = 30.0  # How long a run may wait with its claim; for a longer wait it releases the claim.
# On Cloudflare the clock advances only when a timer fires, and Pyodide's event loop sets no timer for 2 ms or less.
TIMER_SECONDS_LEAST = 0.003  # The least duration of a wait for a point in time, because a shorter wait might never end.

# --- A task whose workers die -------------------------------------------------------------------------
# The time from the first to the last claim in a row of claims that all ended without a finished call.
STALL_REST_SECONDS = 500.0
# The time from the first claim in a row without a finished call to the failure of the task.
STALL_SECONDS_LEAST = 600.0

# --- Retry ------------------------------------------------------------------------------------------
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MOST = 60.0
# The first pause between two probes of a model that is away; the pause doubles with each failed probe.
AWAY_SECONDS_FIRST = 1.0
# The longest pause between two probes of a model that is away: at most 32 probes an hour, whatever the jitter.
AWAY_SECONDS_MOST = 300.0
AWAY_SECONDS_KEPT = 900.0  # For how long after its last failure an isolate remembers that a model was away.
# How many seconds after other tasks' last probe a task that has not failed itself may probe a model that is away.
AWAY_NEWCOMER_SECONDS = 5.0
AWAY_TURN_SECONDS = 30.0  # How long a task whose own pause is over waits for another task's probe at most.
# How far D1's clock may seem to differ from an isolate's clock, the time of the transfer included.
AWAY_CLOCK_SECONDS = 5.0
AWAY_LOOK_SECONDS = 2.0  # How often a run that waits for its model checks whether another run had a success.
# How long a run on the queue waits while its model is away: only briefly, because other tasks may need the queue's
# consumer. While the model is not away, a run on the queue waits for at most UNCOUNTED_SECONDS_MOST, the longest pause
# in a brown-out.
QUEUE_AWAY_WAIT_SECONDS_MOST = 2.0
# The longest time for which a run on the queue releases a task that only waits for its turn to probe the model.
QUEUE_TURN_WAIT_SECONDS_MOST = 120.0
NEWS_MODELS_MOST = 1_000  # The most pairs of tenant and model that an isolate remembers, some 3 KB each.

# --- Failures of the service: see `core/calls/failures.py` ------------------------------------------------------
OTHERS_MOST = 10  # How many other chunks' latest calls at most decide whether a chunk's failure counts.
OTHERS_LEAST = 3
OTHERS_SECONDS = 900.0  # How old the other chunks' calls may be that decide whether a chunk's failure counts.
# The share of the other chunks' calls that must succeed, so that a chunk's failure counts against the chunk.
OTHERS_SHARE = 0.8
LATEST_CALLS_KEPT = OTHERS_MOST + 1
FAILURES_COUNTED_MOST = 10  # The number of counted failures after which a chunk fails for good.
# The pauses of a chunk after each of its counted failures except the last.
COUNTED_PAUSES_SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 160.0, 160.0, 160.0)
# The longest pause after an uncounted failure while the model is not away; the contract allows 10 s.
UNCOUNTED_SECONDS_MOST = 8.0
# For how long after a tenant's last success a failing model counts as in a brown-out, not as away.
BROWN_OUT_SECONDS = 30.0
# After how many seconds since the last failure a run may have its usual number of calls in flight again.
WIDEN_SECONDS = 10.0
# For how long after a failed call isolates exchange their latest calls through the database.
TELL_CALLS_SECONDS = 300.0
PATIENCE_SECONDS_MOST = 86_400
RATE_LIMIT_SECONDS_FIRST = 2.0  # The first pause after an answer 429 without a Retry-After.
# The shortest first pause after an answer 429 with a Retry-After: if a Retry-After of 0 were obeyed, a storm of calls
# would follow.
RATE_LIMIT_SECONDS_LEAST = 0.125
RATE_LIMIT_SECONDS_MOST = 3_600.0
RATE_LIMIT_WAITS_MOST = 100  # How many waits after answers 429 in a row, without a finished call, make a task fail.

# --- A day on the free plan -----------------------------------------------------------------------------
# An account's allowances on the free plan from midnight UTC to midnight UTC, named as in `usage` of /api/async-status.
FREE_PLAN_DAY = {
    "requests": 100_000,  # How many requests the Worker may handle: HTTP requests, cron runs and queue batches.
    "rowsRead": 5_000_000,  # Rows read in D1.
    "rowsWritten": 100_000,  # How many rows may be written in D1, index entries included.
    # How many operations of queues are allowed; a queue message that is delivered once takes three.
    "queueOperations": 10_000,
    "objectRequests": 100_000,  # How many calls to Durable Objects are allowed, alarms included.
    "objectRowsWritten": 100_000,  # How many rows Durable Objects may write in their own storage, alarms included.
    # How many GB-seconds of memory Durable Objects may use; an object at work counts as 128 MB.
    "objectGbSeconds": 13_000,
}

# --- Dispatch and sweep -----------------------------------------------------------------------------
QUEUE_SHARE = 100  # The most tasks of one tenant in the queue; each further task goes to a Durable Object of its own.
SEND_SECONDS = 5.0  # A dispatch to a route that takes longer than this counts as failed, and the next route is tried.
QUEUE_DELIVERIES = 3  # How often a queue message is delivered at most, because wrangler.toml has max_retries = 2.
QUEUE_DELAY_SECONDS_MOST = 43_200  # The platform's longest delay of a queue message: 12 hours.
QUEUE_RETRY_SECONDS = 30
SWEEP_PAGE_TASKS = 100  # How many tasks a sweep reads at once; the sweep reads more pages while its allowance lasts.
# By how many tenants the sweep's turns advance each minute: a prime number, and at least as many tenants as a sweep can
# serve.
SWEEP_TURNS = 37
# How many tasks of a tenant are read to fill free object slots, in addition to MAX_OBJECTS_AT_WORK.
PLACES_WALK_MOST = 500
PLACES_GIVEN_MOST = {"free": 10, "paid": 500}  # The most object slots that a sweep gives to waiting tasks.
SWEEP_QUEUE_SHARE = 10  # How many of a tenant's tasks a sweep adds to the queue; the other tasks go to Durable Objects.
ERASE_OUTPUTS_MOST = 5_000  # The most chunks that all tasks erased in one transaction may have together.
ERASE_TASKS_MOST = {"free": 40, "paid": 200}  # The most tasks that one transaction of the sweep erases.
# How many erasing transactions one sweep runs: on the paid plan enough for 1,440,000 tasks a day.
ERASE_PAGES_MOST = {"free": 1, "paid": 5}
OBJECT_FAILURES_MOST = 6
OBJECT_START_SECONDS = 5.0  # For how long a Durable Object that was just started counts as about to work.
# How long after the start of a slice the object's next alarm is set, in case the slice dies; no alarm fires while
# another is running.
OBJECT_RETURN_SECONDS = 10.0

# --- Lanes of a long task, where objects are bound ------------------------------------------------------
# How many calls a lane makes at a time: the platform lets six connections of an invocation wait for headers.
LANE_CALLS = 6
LANE_CHUNKS = 24  # How many chunks justify one more lane: a lane makes a task's calls in another invocation.
# The least number of chunks of a task with lanes; with fewer chunks the task would get only one lane.
LANES_FROM_CHUNKS = 2 * LANE_CHUNKS
# The most lanes of a task, because its host waits for one RPC per lane and may have six open connections.
LANES_MOST = 5
LANE_SLACK_SECONDS = 5.0  # The time allowed for an RPC to reach a lane and to come back.
COORDINATOR_IDLE_SECONDS = 3_600.0
SWEEP_BACKOFF_DOUBLINGS_MOST = 6
SEEN_SECONDS = 150.0  # How often each trigger of the Worker may record that it came; each record writes one row.
SWEEP_SEEN_SECONDS = 90.0  # How often the sweep may record that it came; cron starts the sweep every 60 s.
EARLY_SECONDS_ALLOWED = 1.0  # How many seconds too early a message to continue a task may arrive.

# --- Sums over ended tasks, for metrics and plots ---------------------------------------------------------
HISTORY_SECONDS = 172_800.0  # How long the sums over each five minutes are kept.
HISTORY_BUCKET_SECONDS = 300.0
HISTORY_HOURS_DEFAULT = 24
# The most ended tasks that one transaction adds to the sums; each task takes three rows.
FOLD_TASKS_MOST = {"free": 500, "paid": 5_000}
FOLD_PAGES_MOST = {"free": 1, "paid": 5}  # The most transactions in which one sweep adds ended tasks to the sums.
# How many unfinished tasks are counted for the metrics at most; each task takes two rows.
SAMPLE_TASKS_MOST = {"free": 1_000, "paid": 10_000}
METRICS_TENANTS_MOST = 20  # How many tenants' use of limits the metrics show: those tenants that use most of them.
METRICS_TENANTS_READ = 1_000

# --- Requests that replace cron, queue or alarms -----------------------------------------------------------
# How late a task without a worker must be before a poll dispatches it, and how far apart such dispatches must be.
LATE_TASK_SECONDS = 60.0
# How many dispatches of a task must be in vain before a request that reads the task works on the task itself.
SENDS_IN_VAIN = 2
# How long a poll's model calls may continue after the poll's answer; the platform cuts `waitUntil` after 30 s.
STAND_IN_SECONDS = 20.0
ASKED_SWEEP_APART_SECONDS = 30.0  # How far apart two runs of `POST /api/sweep` are at least.
# For how long `POST /api/sweep` starts calls; the request is answered when the last call has ended.
ASKED_SWEEP_SECONDS = 25.0
SWEEP_MISSED_SECONDS = 180.0  # How long no sweep must have come before any request runs a sweep after its own answer.
SWEEP_LOOK_SECONDS = 60.0  # How often at most an isolate checks whether a sweep was missed.

# --- Webhooks -----------------------------------------------------------------------------------------------
WEBHOOK_ENDPOINTS_MOST = 10  # The most webhook endpoints of a tenant.
WEBHOOK_NAME_CHARS_MOST = 100
WEBHOOK_URL_CHARS_MOST = 2_000
# For how long a webhook endpoint's previous secret also signs, after a rotation that keeps the previous secret.
OLD_SECRET_SECONDS = 86_400
DELIVERY_SECONDS = 15.0  # The longest time of one attempt to send a webhook delivery.
# For how long a sender holds a webhook delivery: for one attempt and for recording the attempt.
DELIVERY_HELD_SECONDS = 60.0
# How many webhook deliveries are sent at a time; the platform lets six connections of an invocation wait for headers.
DELIVERIES_AT_ONCE = 5
# For how long a sender of webhook deliveries starts attempts; the platform cuts `waitUntil` after 30 s.
DELIVERY_START_SECONDS = 10.0
DELIVERIES_A_SWEEP = {"free": 5, "paid": 100}
DELIVERIES_OF_ENDPOINT = 20  # How many webhook deliveries a sweep sends to an endpoint whose last attempt failed.
DELIVERIES_WALK_MOST = 500  # How many webhook deliveries of one tenant or endpoint a sweep reads or ends at once.
# The pauses of a webhook delivery after each failed attempt in a row. The last pause in the list is repeated until the
# delivery is a day old.
DELIVERY_WAITS_SECONDS = (5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0)
DELIVERY_SECONDS_MOST = 86_400.0  # The time from the beginning of a webhook delivery to its last attempt at the latest.
# The age at which a webhook delivery is given up that was never tried because its endpoint was paused.
DELIVERY_SECONDS_KEPT = 90_000.0
DELIVERY_RETRY_AFTER_SECONDS_MOST = 3_600.0
DELIVERY_ATTEMPTS_SHOWN = 20
# The number of failures in a row after which a webhook endpoint is paused; after the pause, one delivery is tried.
BREAKER_FAILURES = 5
BREAKER_SECONDS_FIRST = 30.0  # The first pause of a failing webhook endpoint; each further failure doubles it.
BREAKER_SECONDS_MOST = 1_800.0

"""All limits of the service in one place, with the platform's own figure in a comment where it has one.

The platform's figures are Cloudflare's published limits for Workers, D1, Queues and Durable Objects, as of November
2026.
"""

# --- What a client may send -------------------------------------------------------------------------
INPUT_BYTES_DEFAULT = 1_000_000
INPUT_BYTES_MOST = 1_850_000  # D1 allows 2,000,000 bytes a row; instructions and cuts share the input's row.
INSTRUCTIONS_CHARS_MOST = 20_000
METADATA_BYTES_MOST = 4_096
MODEL_OPTIONS_BYTES_MOST = 4_096
OUTPUT_TOKENS_MOST = 1_000_000
TEMPERATURE_MOST = 2.0
MODEL_CHARS_MOST = 200
CHUNK_CHARS_MOST = 1_000_000
# The most characters that all calls for a task's chunks send, with overlaps and instructions, to bound the cost.
SENT_CHARS_MOST = 25_000_000
# The most bytes of a text in a file, for `inputFile`. Its calls may repeat SENT_CHARS_MOST characters besides the text.
FILE_TEXT_BYTES_MOST = 25_000_000
# The most chunks of a task, of a text in a file too. The lines of a batch are not chunks of a text: BATCH_LINES_MOST.
CHUNKS_MOST = 5_000  # Each chunk takes one row. A task of 5,000 chunks takes about 15 minutes with six calls at a time.
SMALL_BODY_BYTES_MOST = 10_000  # The largest body of a request that carries no input text.
BODY_OVERHEAD_BYTES = 300_000  # The most bytes that a request's body has besides `input`.
BODY_ESCAPE_FACTOR = 6  # One byte of text, such as "\u0001", may take six bytes of JSON.
WAIT_SECONDS_MOST = 25
WAIT_POLL_SECONDS = 0.5  # A request with `?wait=` reads D1 at most twice a second.
# The seconds between two reads of D1 by a request with `?wait=` that the task's host will tell about the task's end.
WAIT_TOLD_SECONDS = 5.0
# A request that waits for a task checks the isolate's memory for news, at 0.5 ms of CPU, after NEAR_SECONDS or after a
# fraction of the time since the task's last change, at most NEAR_SECONDS_MOST.
NEAR_SECONDS = 0.05
NEAR_SECONDS_MOST = {"free": 1.0, "paid": 0.1}
NEAR_FRACTION = 1 / 16
NEAR_FRACTION_UNKNOWN = 1 / 2  # The value of NEAR_FRACTION while no worker of the isolate is known to have the task.
MARKS_MOST = 1_000  # The most tasks whose progress an isolate remembers.
AUDIENCE_MOST = 32  # The most calls that wait at an object; the platform allows 32,000, but each takes memory.
RESPONSE_METADATA_PAIRS_MOST = 16  # The most pairs in `metadata` of a request to /v1, as at OpenAI.
RESPONSE_METADATA_KEY_CHARS_MOST = 64
RESPONSE_METADATA_VALUE_CHARS_MOST = 512
JOINING_TIMEOUT_SECONDS = 600.0  # The timeout assumed for an SDK that names none; OpenAI's default.
# The longest time from an SDK's timeout to its next send of the request: a Retry-After of up to 120 s, and transfer.
JOINING_PAUSE_SECONDS = 130.0
JOINING_SECONDS_MOST = 1_200  # The greatest age of a task that a repeated request to /v1 may join.
RESPONSE_UNSTORED_SECONDS = 3_600  # How long a response with `store: false` is kept after its end.
LIST_LIMIT_DEFAULT = 20
LIST_LIMIT_MOST = 100
WAIT_READS_FREE = 5  # The most reads of D1 by one request with `?wait=`, on PLAN=free.
CANCEL_ANSWER_SECONDS = 25.0  # In how many seconds the API answers a cancellation or deletion, even if D1 is slow.
BULK_TASKS_MOST = 100  # The most tasks that one bulk request retries or cancels.
BULK_COUNT_MOST = 10_000  # The most tasks that a dry run of a bulk request counts, at two rows each.
BULK_SEND_SECONDS = 10.0  # How long a bulk retry dispatches its tasks; the sweep dispatches the rest.
# A stream of events reads its task at most once a second, and less often while nothing changes. A change of the task
# reaches the client up to a second late, or up to a quarter of the time since the change before it, at most
# EVENT_LOOK_SECONDS_MOST. A stream of events ends after EVENT_READS reads or EVENT_SECONDS, and the client opens it
# again. A stream's read of its task takes 1 or 2 ms of CPU; the free plan allows 10 ms.
EVENT_LOOK_SECONDS_LEAST = 1.0
EVENT_LOOK_SECONDS_MOST = 10.0
EVENT_READS = {"free": 6, "paid": 600}
EVENT_SECONDS = 600.0
EVENT_CHUNKS_AT_ONCE = 16  # The most chunks that one read of a stream returns, each with up to OUTPUT_CHARS_MOST.
EVENT_COMMENT_SECONDS = 5.0  # How often a stream of events sends a comment, even if D1 is slow.
# How long a stream of events trusts its API key: after a revocation it ends within 60 s, including one read.
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
KEY_CACHE_SECONDS = 60.0  # How long an isolate trusts an API key without asking D1, so how late a revocation may work.
KEY_CACHE_MOST = 1_000  # The most API keys that an isolate remembers.
REFUSED_CACHE_SECONDS = 10.0  # How long an isolate refuses a text that was no key, without asking D1 again.
REFUSED_CACHE_MOST = 1_024  # The most texts refused as API keys that an isolate remembers, in 32 bytes each.
LOOKUPS_AT_ONCE = 20  # The most lookups of unknown API keys at a time: a flood of them costs no more D1 calls at once.
LOOKUPS_A_SECOND = 5.0  # Further lookups of unknown API keys per second; lookups that find a key are free.

# --- Status -----------------------------------------------------------------------------------------
MODEL_CHECK_SECONDS = 15.0  # How often an isolate may ask whether the provider answers, for the status.
DATABASE_CHECK_SECONDS = 1.0  # How often an isolate may ask whether D1 answers, for `GET /api/async-status`.

# --- What a model may answer ------------------------------------------------------------------------
OUTPUT_CHARS_MOST = 200_000
REPLY_BYTES_MOST = 1_048_576
REJECTED_CHARS_MOST = 8_000  # The most characters of a rejected answer that are kept and shown to the model again.
FAULTS_MOST = 10  # The most faults that are reported of a rejected answer.
FAULT_CHARS_MOST = 200  # The most characters of a fault's JSON pointer, and of what was expected there.
FINISH_REASON_CHARS_MOST = 40  # The length at which the provider's reason for an output's end is cut off.

# --- Batches ----------------------------------------------------------------------------------------
BATCH_BODY_BYTES_MOST = 60_000  # `metadata` of 16 pairs may take 55,296 bytes of JSON.
BATCH_LINES_MOST = 20_000  # The most lines of a batch, blank lines not counted.
BATCH_LINE_BYTES_MOST = 1_000_000  # The most bytes of a line, without its end.
BATCH_WINDOW_HOURS_MOST = 168  # A week.
# The most bytes of lines that one answer has of an output file that grows: it is read in pieces of BATCH_SLICE_BYTES.
EARLY_BYTES_MOST = {"free": 8 * 1_024 * 1_024, "paid": 64 * 1_024 * 1_024}
BATCH_SLICE_BYTES = 1_048_576  # The most bytes of a batch's files that a run holds at once, except of single lines.
BATCH_SLICES_A_RUN = {"free": 4, "paid": 100}  # The slices of its input file that a run checks: 5 to 14 ms of CPU each.
BATCH_SLICES_A_WRITER = {"free": 16, "paid": 100}  # The slices of it that a writer reads: 2 to 3 ms of CPU each.
TEXT_SLICE_BYTES = 1_048_576  # How much of a text in a file is cut at once.
# How many slices of a text one run cuts at most.
TEXT_SLICES_A_RUN = {"free": 4, "paid": 100}
BATCH_LINES_KEPT_BYTES = 8_388_608  # The most memory for lines whose calls a run has in flight, or has read ahead.
# The characters from which a segment of a batch takes no more lines, because an object is made of whole segments.
SEGMENT_CHARS_OF_BATCH = 1_048_576
RETRY_READ_BYTES_MOST = 4 * 1_024 * 1_024  # The most bytes that a retry of a batch reads of its input at once.
BATCH_READ_PAUSE_SECONDS = 1.0  # The first pause of a run that cannot read its lines; it doubles with each failure.
LOST_READS = 4  # How many reads, with pauses, must miss a part of the input file before its lines are given up.
LOST_LINES_A_WRITE = 500  # How many lines that cannot be read one write gives up at most.
# How long a writer waits for a part of the input file that is gone, in case another bucket was bound by mistake.
LOST_PART_SECONDS = 900.0
WRITER_SECONDS = 60.0  # How long a writer has a batch whose files it completes, from its last write on.
WRITER_SLICE_SECONDS = 20.0  # How long a writer works in one invocation; `waitUntil` is cut after 30 s.
BATCHES_WRITTEN_A_SWEEP = {"free": 1, "paid": 20}  # The batches whose files one sweep completes at most.
BATCH_ERRORS_MOST = 100  # The most faults that a batch reports of its lines.
CUSTOM_ID_CHARS_MOST = 64
# The most characters of the answer in a line of the output file, and of the whole line: ASCII, so that a character is a
# byte. Compressed, and written in hexadecimal digits, a line of random letters then fits the 2,000,000 bytes of D1.
ANSWER_CHARS_MOST = 1_000_000
OUTPUT_LINE_CHARS_MOST = 1_100_000
ANSWER_CHOICES_MOST = 100  # The most choices of an answer: each may grow by some 110 characters in its line.
# The most characters of the body with which a provider refused a line, as JSON in ASCII: each refused line keeps one.
REFUSAL_CHARS_MOST = 16_384
REFUSAL_READ_BYTES_MOST = 262_144  # The most bytes of such a body that are parsed, to keep its message if it is larger.

# --- Structured output ----------------------------------------------------------------------------------
SCHEMA_BYTES_MOST = 32_768  # The most bytes of an output schema as compact JSON.
SCHEMA_PROPERTIES_MOST = 5_000  # The most properties of an output schema, as at OpenAI.
SCHEMA_LEVELS_MOST = 10  # The most levels of objects and arrays in an output schema, as at OpenAI.
SCHEMA_ENUM_VALUES_MOST = 1_000  # The most values of `enum` and `const` together, as at OpenAI.
SCHEMA_ENUM_PARTS_MOST = 4_000  # The most values that those consist of, with the values inside arrays and objects.
SCHEMA_ALIKE_MOST = 8  # The most schemas of one `anyOf` that are for one type of values and that nothing tells apart.
SCHEMA_ALTERNATIVES_MOST = 1_000  # The most schemas in all `anyOf` of an output schema together.
VALUE_LEVELS_MOST = 64  # The most levels of an output as JSON, because Python's parser recurses.
# The most steps of one output's check through `anyOf`. SCHEMA_ALIKE_MOST schemas need three
# quarters of them for an output of OUTPUT_CHARS_MOST.
BRANCH_STEPS_MOST = 15_000
JOIN_FIELDS_MOST = 5_000  # The most fields of an output that `join` may join, without those within arrays.
SUMMED_MAGNITUDE_MOST = 1e300  # The largest number in a summed field, so that the sum over CHUNKS_MOST is a double.
JOIN_BYTES_MOST = 32_768  # The most bytes of the rules of `join` as compact JSON.
SCHEMA_NAME_CHARS_MOST = 64  # OpenAI's

# --- What a tenant may have ---------------------------------------------------------------------------
IDEMPOTENCY_SECONDS = 86_400
IDEMPOTENCY_KEY_CHARS_MOST = 255
DEADLINE_SECONDS_MOST = 2_592_000  # 30 days
MODEL_CALLS_MOST = 1_000_000
TASKS_IN_FLIGHT_MOST = 10_000  # The highest MAX_TASKS_IN_FLIGHT: a submission reads a row or two for each.
CHARACTERS_A_DAY_MOST = 1_000_000_000_000
IN_FLIGHT_RETRY_SECONDS = 10
OBJECTS_AT_WORK_MOST = 10_000  # The highest MAX_OBJECTS_AT_WORK: a dispatch reads a row or two for each.

# --- Merging ----------------------------------------------------------------------------------------
MERGE_CHARS_LEAST = 2_000  # The least characters of outputs that a merge call may take, however small the chunks are.

# --- D1 ---------------------------------------------------------------------------------------------
PIECE_BYTES_MOST = 900_000  # Uncompressed bytes of a parameter, which is hexadecimal, twice as long; D1: 2,000,000.
SEGMENT_BYTES = 32_768  # The compressed size from which a segment takes no more outputs: a write rewrites it all.
COMPRESSION_LEVEL = 6
# The characters of a task's text that a run reads at once; the first claim of a shorter text reads it whole.
WINDOW_CHARS_MOST = 131_072
WINDOW_CHUNKS_LEAST = 40  # The least number of chunks that a claim reads: as many as a run on the free plan can do.
MERGE_CALLS_READ = 32  # The most merge calls for which a run reads the outputs to be merged at once.
MERGE_OUTPUTS_COPIED = 500  # The most merge outputs that a retry of gaps reads at once, to copy them.
# The most characters of merge outputs that a run keeps in memory; it reads further ones again when it needs them.
OUTPUTS_KEPT_CHARS = 4_000_000
ANSWER_CHARS_AT_ONCE = 2_000_000  # The most characters of output read at once for an answer; more are sent in parts.
STORE_SENDS = 3  # How often the store sends a write to D1 at most; each write is safe to send again.
STORE_RESEND_SECONDS = 0.1
STORE_SECONDS = 30.0  # When the store gives up a D1 call without an answer; its write may still land later.
STORE_SECONDS_OF_REQUEST = 10.0  # When the store gives up a D1 call of the HTTP API, where a client waits.
LATE_SECONDS_MOST = 3_600.0  # How late a write that was given up may land: seconds were seen, but clocks jump.
OVERLOAD_SECONDS = 5.0  # How long D1 may take to answer before an isolate refuses new tasks.
OVERLOAD_PROBE_SECONDS = 5.0  # When an isolate that refuses new tasks accepts one as a probe of D1.
OVERLOAD_FORGET_SECONDS = 60.0  # The age at which an unanswered D1 call has surely lost its caller.
# Millions of bytes. A database of D1 holds 500 MB on the free plan and 10 GB on the paid one. STORAGE_MB_MOST leaves at
# least a twentieth of the space for what running tasks still have to store.
STORAGE_MB_MOST = {"free": 450, "paid": 9_500}
CLEAR_FRACTION = 0.9  # The part of STORAGE_MB_MOST above which the sweep erases ended tasks early.
CLEAR_TASKS_MOST = 40  # The most tasks that one transaction of the sweep erases before their retention is over.
CLEAR_PAGES_MOST = {"free": 1, "paid": 10}  # The most pages of tasks that one sweep erases early.
CLEAR_WALK_MOST = 1_000  # Tasks that a page of early erasure reads, erasable or not.
KEPT_SECONDS_LEAST = 86_400.0  # How long ago a task must have ended for the sweep to erase it early.
STORAGE_COUNT_SECONDS = 21_600.0  # How often the sweep counts the tenants' storage, by reading a row per task.
STORAGE_TENANTS_MOST = 50  # The tenants whose storage is kept after a count: those that store most.
STORAGE_MEASURE_SECONDS = 10.0  # How often an isolate that refuses new tasks asks for the database's size.
STORAGE_REST_SECONDS = 600.0  # How long a task rests after the database had no space for a call's output.
ROOM_BYTES_A_CALL = 65_536  # The bytes that a call must find free in a tight database; most outputs take 4 KB.
ROOM_BYTES_MOST = 1_500_000  # The most bytes that a run's calls must find free together; D1: 2,000,000 a row.
AHEAD_COUNTED_SECONDS = 5.0  # How long a task must have waited for a poll to count the tasks ahead of it.
AHEAD_COUNTED_MOST = 100  # The most unfinished tasks of a tenant that a poll counts.
LIST_WALK_MOST = 500  # The most tasks that a filtered page of the task list reads, and the most that its counts read.
SEARCH_CHARS_MOST = 100  # The length of a text that the list of tasks is searched for.
FIRST_LINE_CHARS_MOST = 120  # The length to which a task's first line, one of its names, is cut.
FIRST_LINE_WITHIN_CHARS = 1_000  # How much blank text may come before a task's first line.
ATTEMPTS_LOGGED_MOST = 10  # The most failed calls that a task's log of calls keeps for one output.
ATTEMPT_MESSAGE_CHARS_MOST = 300  # The most characters of an error message in a task's log of calls.

# --- Files --------------------------------------------------------------------------------------------
FILE_BYTES_DEFAULT = 50_000_000
FILE_BYTES_MOST = 95_000_000  # The platform lets a request's body have 100 MB.
FILES_BYTES_DEFAULT = 2_000_000_000
FILES_BYTES_MOST = 10**15
FILES_DEFAULT = 10_000  # The most files of a tenant, as many as one list shows; an upload counts them.
FILES_MOST = 1_000_000
FILE_BYTES_MOST_IN_D1 = 1_500_000  # Without R2 the bytes of files share the database with all tasks.
FILE_PART_BYTES = 8 * 1_024 * 1_024  # An isolate has 128 MB, and a part is held whole while it is stored.
FILE_PART_BYTES_IN_D1 = 512 * 1_024  # The parameter is hexadecimal, twice as long; D1 allows 2,000,000 bytes.
FILE_READ_BYTES_MOST = FILE_PART_BYTES  # The most bytes of a file that are read at once.
BLOB_SENDS = 3  # How often a call to R2 is made at most while R2 answers with a passing error.
BLOB_RESEND_SECONDS = 0.2
BLOB_SECONDS = 30.0  # When a call to R2 without an answer is given up; what it writes may still land later.
BLOB_KEYS_MOST = 1_000  # The most keys that R2 lists or deletes at once.
FILE_ROWS_ERASED = 100  # The most parts in D1 that one call erases.
FORM_BYTES_MOST = 300_000  # The most bytes of an upload's body besides the file's own.
FILENAME_CHARS_MOST = 255
FILE_EXPIRY_SECONDS = (3_600, 2_592_000)  # The least and the most of `expires_after[seconds]`.
FILE_LIST_LIMIT_MOST = 10_000  # The most files of a list, and their number without `limit`, as at OpenAI.
FILE_LIST_PAGE = 1_000  # The files that one call to D1 lists.
UPLOAD_SECONDS_MOST = 3_600  # How long an upload may take; the sweep erases one that is not ready by then.
FILE_ERASE_SECONDS = 300  # When the sweep tries again to erase a file that could not be erased.
FILE_IN_USE_SECONDS = 600  # When the sweep looks again at an expired file that a batch still reads.
FILES_A_SWEEP = {"free": 2, "paid": 100}  # The most files that one sweep erases, at two calls to R2 each.
ORPHAN_SECONDS = 86_400  # The age from which a part that no row names is an orphan, and is erased.
ORPHANS_APART_SECONDS = 3_600  # How often a page of parts is searched for orphans.
ORPHANS_A_PAGE = {"free": 200, "paid": 1_000}  # The parts that are searched at once.

# --- Processing -------------------------------------------------------------------------------------
# SLICE_SECONDS is how long a run may start calls, and WALL_SECONDS when the platform ends its invocation (Workers,
# Limits: duration; Queues, Limits: consumer wall time; Durable Objects, Alarms). `processing/allowance.py` uses both.
QUEUE_SLICE_SECONDS = 600.0
QUEUE_WALL_SECONDS = 900.0  # The platform allows a queue's consumer 15 minutes.
DIRECT_SLICE_SECONDS = 20.0
DIRECT_WALL_SECONDS = 30.0  # The platform cuts `waitUntil` 30 s after the answer to the request.
SWEEP_SLICE_SECONDS = 600.0
SWEEP_WALL_SECONDS = 900.0  # The platform allows a cron trigger 15 minutes.
OBJECT_SLICE_SECONDS = 300.0
OBJECT_WALL_SECONDS = 900.0  # The platform allows an object's alarm 15 minutes.
WALL_MARGIN_SECONDS = 5.0  # The time reserved at a run's end, for START_SECONDS of its last call and the last write.
SUBREQUESTS = {"free": 45, "paid": 900}  # Most subrequests of an invocation; the platform allows 50 and 10,000.
STATEMENTS = {"free": 45, "paid": 900}  # D1 statements of an invocation; the platform allows 50 and 1,000.
RUN_LEAST = 20  # The subrequests and D1 statements that an invocation must have left to start a run.
# A model call must start within a window after it was announced, or is announced again. The window is START_LATENCIES
# times the duration of a write to D1, plus START_SECONDS_MORE, from START_SECONDS to START_SECONDS_MOST.
START_SECONDS = 2.0
START_SECONDS_MOST = 20.0
START_LATENCIES = 2.0
START_SECONDS_MORE = 1.0
LATENCY_SECONDS_KEPT = 60.0  # How long an isolate remembers how long D1 took for its writes.
# The pause after calls were announced and none started; it doubles each time in a row that none starts.
START_PAUSE_SECONDS_FIRST = 1.0
START_PAUSE_SECONDS_MOST = 30.0
FRUITLESS_MOST = 3  # How many announcements in a row without a started call end a run that has no call in flight.
IDLE_SECONDS_FIRST = 5.0  # How long a task rests after a run that started no call; doubled for each in a row.
IDLE_SECONDS_MOST = 600.0
WRITES_A_CALL = 2  # A worker's writes for each ended call: its record, and the next call's announcement.
WRITES_A_MINUTE = 2  # A worker's further writes in a minute, even if all calls fail.
WRITES_AT_FIRST = 5  # Writes that a run may make at once: a claim, three fruitless announcements, the release.
WRITES_AT_FIRST_IDLE = 2  # WRITES_AT_FIRST after a run that started no call: a claim, and one announcement.
# A finished call lingers so that several are recorded together: each write costs two rows and a D1 call. While a call
# lingers, no new call starts in its place, so a task with uneven calls takes some 8 to 11 % longer. Until a call of a
# run has taken QUICK_CALL_SECONDS, its calls are quick, and their outputs reach a stream of events within two seconds.
LINGER_FRACTION = 0.2  # The part of a finished call's duration for which it lingers; all of it if no call could start.
LINGER_CALLS = 0.75  # For about how many further calls a finished call lingers if calls take different times.
LINGER_FRACTION_LEAST = 0.04
LINGER_LATENCIES = 3.0  # A finished call lingers at least as long as this many writes take, up to the usual most.
LINGER_SECONDS_QUICK = 0.7  # The longest time that quick calls linger; a stream then reads within 1.25 s.
LINGER_SECONDS_MOST = 2.0
QUICK_CALL_SECONDS = 5.0
# A run that waits for slow calls checks its claim LOOK_SECONDS_FIRST after its last write, then after twice the last
# pause, up to LOOK_SECONDS_MOST, LOOKS_MOST times, and not more often than every LOOK_LATENCIES writes would take.
LOOK_SECONDS_FIRST = 5.0
LOOK_SECONDS_MOST = 10.0  # The most seconds between two checks of a claim: a cancelled task frees its host in 15 s.
LOOK_LATENCIES = 10.0
LOOKS_MOST = {"free": 10, "paid": 100}
TELL_SECONDS = 2.0  # How long a cancellation waits for the object that it notifies, and the object for a lane.
CANCEL_SECONDS_MOST = 22.0  # How long the API may hold a cancellation; the contract promises an answer in 25 s.
DROP_SECONDS_MOST = 1.0  # How long a run waits for cancelled calls to close their connections.
INLINE_WAIT_SECONDS_MOST = 30.0  # How long a run may wait before it releases its claim instead.
# On Cloudflare the clock moves only in timers, and Pyodide's own loop sets no timer for 2 ms or less.
TIMER_SECONDS_LEAST = 0.003  # The least time of any wait for a point in time: a shorter one might never end.

# --- A task whose workers die -------------------------------------------------------------------------
STALL_REST_SECONDS = 500.0  # The time from the first to the last claim of a row of claims without a finished call.
STALL_SECONDS_LEAST = 600.0  # The time from the first claim without a finished call to the task's failure.

# --- Retry ------------------------------------------------------------------------------------------
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MOST = 60.0
# The first pause between two probes of a model that is away; the pause doubles with each failed probe.
AWAY_SECONDS_FIRST = 1.0
AWAY_SECONDS_MOST = 300.0  # The longest pause between two probes of an away model: at most 32 an hour, with any jitter.
AWAY_SECONDS_KEPT = 900.0  # How long an isolate remembers that a model was away, after its last failure.
AWAY_NEWCOMER_SECONDS = 5.0  # How long after others' probes a task without failures probes an away model.
AWAY_TURN_SECONDS = 30.0  # How long a task whose own pause is over waits at most for another task's probe.
AWAY_CLOCK_SECONDS = 5.0  # How far D1's clock may seem to differ from an isolate's, transfer time included.
AWAY_LOOK_SECONDS = 2.0  # How often a run that waits for its model checks for another run's success.
# How long a run on the queue waits while its model is away: not long, because other tasks may need its consumer. While
# the model is not away, a run on the queue waits UNCOUNTED_SECONDS_MOST at most, the longest pause of a brown-out.
QUEUE_AWAY_WAIT_SECONDS_MOST = 2.0
# For how long at most a run on the queue releases a task that only waits for its turn to probe.
QUEUE_TURN_WAIT_SECONDS_MOST = 120.0
NEWS_MODELS_MOST = 1_000  # The most pairs of tenant and model that an isolate remembers, some 3 KB each.

# --- Failures of the service: see `core/calls/failures.py` ------------------------------------------------------
OTHERS_MOST = 10  # The most other chunks whose latest calls decide whether a chunk's failure counts.
OTHERS_LEAST = 3
OTHERS_SECONDS = 900.0  # How old other chunks' calls may be that decide whether a chunk's failure counts.
OTHERS_SHARE = 0.8  # The share of other chunks' calls that must succeed for a failure to count.
LATEST_CALLS_KEPT = OTHERS_MOST + 1
FAILURES_COUNTED_MOST = 10  # After how many counted failures a chunk fails for good.
# The pauses of a chunk after each of its counted failures except the last.
COUNTED_PAUSES_SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 160.0, 160.0, 160.0)
UNCOUNTED_SECONDS_MOST = 8.0  # The longest pause after an uncounted failure, if the model is not away; contract: 10 s.
BROWN_OUT_SECONDS = 30.0  # How long after a tenant's success a failing model is in a brown-out, not away.
WIDEN_SECONDS = 10.0  # How long after the last failure a run has its usual number of calls again.
TELL_CALLS_SECONDS = 300.0  # How long after a failed call isolates exchange their latest calls through the database.
PATIENCE_SECONDS_MOST = 86_400
RATE_LIMIT_SECONDS_FIRST = 2.0  # The first pause after a 429 without a Retry-After.
# The least first pause after a 429 with a Retry-After: obeying a Retry-After of 0 would cause a storm of calls.
RATE_LIMIT_SECONDS_LEAST = 0.125
RATE_LIMIT_SECONDS_MOST = 3_600.0
RATE_LIMIT_WAITS_MOST = 100  # The waits after 429s in a row, without a finished call, after which a task fails.

# --- A day on the free plan -----------------------------------------------------------------------------
# An account's allowances on the free plan from midnight UTC to midnight UTC, named as in `usage` of /api/async-status.
FREE_PLAN_DAY = {
    "requests": 100_000,  # Requests to the Worker, which are HTTP requests, cron runs and queue batches.
    "rowsRead": 5_000_000,  # Rows read in D1.
    "rowsWritten": 100_000,  # The rows written in D1, including index entries.
    "queueOperations": 10_000,  # A queue message that is delivered once counts as three operations.
    "objectRequests": 100_000,  # Calls to Durable Objects, and their alarms.
    "objectRowsWritten": 100_000,  # Rows written in the Durable Objects' own storage, alarms included.
    "objectGbSeconds": 13_000,  # A Durable Object at work counts as 128 MB of memory.
}

# --- Dispatch and sweep -----------------------------------------------------------------------------
QUEUE_SHARE = 100  # The most tasks of a tenant in the queue; further ones go to Durable Objects of their own.
SEND_SECONDS = 5.0  # A dispatch to a route that takes longer counts as failed, and the next route is tried.
QUEUE_DELIVERIES = 3  # How often a queue message is delivered: wrangler.toml has max_retries = 2.
QUEUE_DELAY_SECONDS_MOST = 43_200  # The platform's longest delay of a queue message: 12 hours.
QUEUE_RETRY_SECONDS = 30
SWEEP_PAGE_TASKS = 100  # Tasks that a sweep reads at once; it reads more pages while its allowance lasts.
SWEEP_TURNS = 37  # The tenants by which the turns move each minute: at least as many as a sweep can serve, and prime.
PLACES_WALK_MOST = 500  # The tasks of a tenant that are read to fill free slots, besides MAX_OBJECTS_AT_WORK.
PLACES_GIVEN_MOST = {"free": 10, "paid": 500}  # The most object slots that a sweep gives to waiting tasks.
SWEEP_QUEUE_SHARE = 10  # A tenant's tasks that a sweep adds to the queue; others go to Durable Objects.
ERASE_OUTPUTS_MOST = 5_000  # The most chunks that the tasks of one transaction of erasure may have.
ERASE_TASKS_MOST = {"free": 40, "paid": 200}  # The most tasks that one transaction of the sweep erases.
ERASE_PAGES_MOST = {"free": 1, "paid": 5}  # A sweep's erasing transactions: 1,440,000 tasks a day if paid.
OBJECT_FAILURES_MOST = 6
OBJECT_START_SECONDS = 5.0  # How long a started Durable Object counts as about to work.
# How long after a slice's start an object's next alarm is set, in case the slice dies; none fires while one is running.
OBJECT_RETURN_SECONDS = 10.0

# --- Lanes of a long task, where objects are bound ------------------------------------------------------
LANE_CALLS = 6  # A lane's calls at a time; the platform lets so many connections wait for headers.
LANE_CHUNKS = 24  # The chunks for which a task gets a lane, which makes calls in another invocation.
LANES_FROM_CHUNKS = 2 * LANE_CHUNKS  # The least chunks of a task with lanes, as fewer would give it only one.
LANES_MOST = 5  # The most lanes of a task: its host waits for one RPC per lane, and has six connections.
LANE_SLACK_SECONDS = 5.0  # The time allowed for an RPC's way to a lane and back.
LANE_LINGER_FRACTION = (
    0.22  # The part of its wait for which a lane with a finished call waits: calls may differ by a tenth.
)
COORDINATOR_IDLE_SECONDS = 3_600.0
SWEEP_BACKOFF_DOUBLINGS_MOST = 6
SEEN_SECONDS = 150.0  # How often each trigger of the Worker may record that it came, at one row each time.
SWEEP_SEEN_SECONDS = 90.0  # How often the sweep, which cron starts every 60 s, may record that it came.
EARLY_SECONDS_ALLOWED = 1.0  # How early a message to continue a task may arrive.

# --- Sums over ended tasks, for metrics and plots ---------------------------------------------------------
HISTORY_SECONDS = 172_800.0  # How long the sums of each five minutes are kept.
HISTORY_BUCKET_SECONDS = 300.0
HISTORY_HOURS_DEFAULT = 24
FOLD_TASKS_MOST = {"free": 500, "paid": 5_000}  # The most ended tasks that a transaction adds up, at 3 rows each.
FOLD_PAGES_MOST = {"free": 1, "paid": 5}  # The most transactions in which one sweep adds up ended tasks.
SAMPLE_TASKS_MOST = {"free": 1_000, "paid": 10_000}  # Unfinished tasks counted for metrics, at two rows each.
METRICS_TENANTS_MOST = 20  # The tenants whose use of limits the metrics show: the highest users.
METRICS_TENANTS_READ = 1_000

# --- Requests that replace cron, queue or alarms -----------------------------------------------------------
LATE_TASK_SECONDS = 60.0  # How late a task without a worker is when a poll dispatches it, and how often polls may.
SENDS_IN_VAIN = 2  # After how many dispatches in vain a request that reads a task works on the task itself.
STAND_IN_SECONDS = 20.0  # How long a poll's model calls may go on after its answer; `waitUntil` is cut after 30 s.
ASKED_SWEEP_APART_SECONDS = 30.0  # How often `POST /api/sweep` runs at most.
ASKED_SWEEP_SECONDS = 25.0  # How long `POST /api/sweep` starts calls; it answers when the last call has ended.
SWEEP_MISSED_SECONDS = 180.0  # How long without a sweep until any request runs one after its answer.
SWEEP_LOOK_SECONDS = 60.0  # How often an isolate checks at most whether a sweep was missed.

# --- Webhooks -----------------------------------------------------------------------------------------------
WEBHOOK_ENDPOINTS_MOST = 10  # The most webhook endpoints of a tenant.
WEBHOOK_NAME_CHARS_MOST = 100
WEBHOOK_URL_CHARS_MOST = 2_000
OLD_SECRET_SECONDS = 86_400  # How long a webhook endpoint's previous secret signs too, after a rotation that keeps it.
DELIVERY_SECONDS = 15.0  # The longest time of one attempt to send a webhook delivery.
DELIVERY_HELD_SECONDS = 60.0  # How long a sender holds a webhook delivery: for an attempt and its record.
DELIVERIES_AT_ONCE = 5  # Webhook deliveries sent at a time; the platform lets six connections wait for headers.
DELIVERY_START_SECONDS = 10.0  # How long a sender of webhook deliveries starts attempts; `waitUntil` is cut after 30 s.
DELIVERIES_A_SWEEP = {"free": 5, "paid": 100}
DELIVERIES_OF_ENDPOINT = 20  # Webhook deliveries that a sweep sends to an endpoint whose last attempt failed.
DELIVERIES_WALK_MOST = 500  # Webhook deliveries of a tenant or endpoint that a sweep reads or ends at once.
# The pauses of a webhook delivery after each failed attempt in a row. The last one repeats for a day.
DELIVERY_WAITS_SECONDS = (5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0)
DELIVERY_SECONDS_MOST = 86_400.0  # The time from the beginning of a webhook delivery to its last attempt.
# The age at which a webhook delivery is given up if its paused endpoint kept it from being tried.
DELIVERY_SECONDS_KEPT = 90_000.0
DELIVERY_RETRY_AFTER_SECONDS_MOST = 3_600.0
DELIVERY_ATTEMPTS_SHOWN = 20
BREAKER_FAILURES = 5  # The failures in a row after which a webhook endpoint is paused, then tried with one delivery.
BREAKER_SECONDS_FIRST = 30.0  # The first pause of a failing webhook endpoint; each further failure doubles it.
BREAKER_SECONDS_MOST = 1_800.0

"""All limits of the service in one place, each with the platform's own limit in a comment if the platform has one.

The platform's figures are Cloudflare's published limits for Workers, D1, Queues and Durable Objects, as of November
2026.
"""

# --- What a client may send -------------------------------------------------------------------------
INPUT_BYTES_DEFAULT = 1_000_000
INPUT_BYTES_MOST = 1_850_000  # D1 allows 2,000,000 bytes in a row; instructions and cuts share the input's row.
INSTRUCTIONS_CHARS_MOST = 20_000
METADATA_BYTES_MOST = 4_096
MODEL_OPTIONS_BYTES_MOST = 4_096
OUTPUT_TOKENS_MOST = 1_000_000
TEMPERATURE_MOST = 2.0
MODEL_CHARS_MOST = 200
CHUNK_CHARS_MOST = 1_000_000
# The most characters that all calls for a task's chunks send, overlaps and instructions included: a bound on the cost.
SENT_CHARS_MOST = 25_000_000
# The most bytes of a text in a file, for `inputFile`. Its calls may repeat SENT_CHARS_MOST characters besides the text.
FILE_TEXT_BYTES_MOST = 25_000_000
CONTEXT_CHARS_MOST = 4_000
PROMPT_CHARS = 1_000  # The most characters of headings, marks and the words about them in the message of a chunk.
# The most chunks of a task, of a text in a file too. The lines of a batch are not chunks of a text: BATCH_LINES_MOST.
CHUNKS_MOST = 5_000  # Each chunk takes one row. A task of 5,000 chunks takes about 15 minutes with six calls at a time.
SMALL_BODY_BYTES_MOST = 10_000  # The most bytes in the body of a request that carries no input text.
BODY_OVERHEAD_BYTES = 300_000  # The most bytes that a request's body may have in addition to `input`.
BODY_ESCAPE_FACTOR = 6  # One byte of text, such as "\u0001", may take six bytes of JSON.
WAIT_SECONDS_MOST = 25
WAIT_POLL_SECONDS = 0.5  # A request with `?wait=` reads D1 at most twice a second.
# The seconds between two reads of D1 by a request with `?wait=` that the task's host will notify of the task's end.
WAIT_TOLD_SECONDS = 5.0
# A request that waits for a task checks the isolate's memory for changes, in 0.5 ms of CPU. It does so after a fraction
# of the time since the task's last change, but after NEAR_SECONDS at least and NEAR_SECONDS_MOST at most.
NEAR_SECONDS = 0.05
NEAR_SECONDS_MOST = {"free": 1.0, "paid": 0.1}
NEAR_FRACTION = 1 / 16
NEAR_FRACTION_UNKNOWN = 1 / 2  # The value of NEAR_FRACTION while no worker of the isolate is known to have the task.
MARKS_MOST = 1_000  # The most tasks whose progress an isolate remembers.
AUDIENCE_MOST = 32  # The most calls that wait at a Durable Object; the platform allows 32,000, but each takes memory.
RESPONSE_METADATA_PAIRS_MOST = 16  # The most pairs in `metadata` of a request to /v1, as at OpenAI.
RESPONSE_METADATA_KEY_CHARS_MOST = 64
RESPONSE_METADATA_VALUE_CHARS_MOST = 512
RESEND_TIMEOUT_SECONDS = 600.0  # The timeout assumed for a client's SDK that names none: OpenAI's default.
RESEND_PAUSE_SECONDS = 130.0  # From an SDK's timeout to its next try: a Retry-After of up to 120 s, and the transfer.
RESEND_SECONDS_MOST = 1_200  # The greatest age of a task with which a repeated request to /v1 may be answered.
RESPONSE_UNSTORED_SECONDS = 3_600  # How long a response with `store: false` is kept after its end.
LIST_LIMIT_DEFAULT = 20
LIST_LIMIT_MOST = 100
WAIT_READS_FREE = 5  # The most reads of D1 by one request with `?wait=`, on PLAN=free.
CANCEL_ANSWER_SECONDS = 25.0  # Within how many seconds the API answers a cancellation or deletion, even if D1 is slow.
BULK_TASKS_MOST = 100  # The most tasks that one bulk request retries or cancels.
BULK_COUNT_MOST = 10_000  # The most tasks that a dry run of a bulk request counts. Each takes two rows.
BULK_SEND_SECONDS = 10.0  # For how long a bulk retry dispatches its tasks itself; the sweep dispatches the rest.
# A stream of events reads its task at most once a second, and less often while nothing changes: see `look_seconds`. It
# ends after EVENT_READS reads, of 1 or 2 ms of CPU each, or EVENT_SECONDS, and the client opens it again.
EVENT_LOOK_SECONDS_LEAST = 1.0
EVENT_LOOK_SECONDS_MOST = 10.0
EVENT_READS = {"free": 6, "paid": 600}
EVENT_SECONDS = 600.0
EVENT_CHUNKS_AT_ONCE = 16  # The most chunks that one read for an event stream returns, each with OUTPUT_CHARS_MOST.
EVENT_COMMENT_SECONDS = 5.0  # How often a stream of events sends a comment, even if D1 is slow.
EVENT_KEY_SECONDS = 45.0  # How long a stream trusts its API key; a revoked key ends it within 60 s, a read included.
EVENT_RETRY_MS = 500  # The pause that a stream of events asks of a client before it reopens the stream.
EVENT_HELP_SECONDS = 60.0  # How often a stream of events helps a task that no host works on.
REQUEST_PERIOD_SECONDS = 60  # The period of RATE_LIMITER in wrangler.toml, in seconds; the platform allows 10 or 60.
RATE_LIMITER_SECONDS = 1.0  # How long a request waits for the rate limiter before it is let through.

# --- Keys -------------------------------------------------------------------------------------------
KEYS_MOST = 100  # The most API keys that a tenant may have.
KEY_LABEL_CHARS_MOST = 100
KEY_BODY_BYTES_MOST = 10_000
KEY_SECONDS_MOST = 315_360_000  # The seconds of ten years.
KEY_CACHE_SECONDS = 60.0  # How long an isolate trusts an API key without asking D1, and accepts a revoked key.
KEY_CACHE_MOST = 1_000  # The most API keys that an isolate remembers.
REFUSED_CACHE_SECONDS = 10.0  # How long an isolate refuses a text that was no valid API key, without asking D1 again.
REFUSED_CACHE_MOST = 1_024  # The most texts refused as API keys that an isolate remembers, each in 32 bytes.
LOOKUPS_AT_ONCE = 20  # How many lookups of unknown API keys may run at once, so that a flood makes few D1 calls.
LOOKUPS_A_SECOND = 5.0  # How many further lookups of unknown API keys may start per second; found keys do not count.

# --- Status -----------------------------------------------------------------------------------------
HEALTH_READ_SECONDS = 10.0  # How often an isolate may read what happened to calls, to show the model's health.
HEALTH_SECONDS = 900.0  # How far back the ends of tasks count for the model's health.
HEALTH_TASKS_MOST = 1_000  # The most unfinished tasks that are read for the model's health, at two rows each.
HEALTH_SHARE = 0.2  # From this share of tasks on that failed for a cause of the service the model is degraded.
MODEL_CHECK_SECONDS = 15.0  # How often an isolate may check whether the provider answers, to show the status.
DATABASE_CHECK_SECONDS = 1.0  # How often an isolate may ask whether D1 answers, for `GET /api/async-status`.

# --- What a model may answer ------------------------------------------------------------------------
OUTPUT_CHARS_MOST = 200_000
REPLY_BYTES_MOST = 1_048_576
REJECTED_CHARS_MOST = 8_000  # The most characters of a rejected answer that are stored and shown to the model again.
FAULTS_MOST = 10  # The most faults of a rejected answer that are reported.
FAULT_CHARS_MOST = 200  # The most characters of a fault's JSON pointer, and of the text about what was expected.
FINISH_REASON_CHARS_MOST = 40  # The provider's reason for the end of an output is cut to this length.

# --- Batches ----------------------------------------------------------------------------------------
BATCH_BODY_BYTES_MOST = 60_000  # `metadata` of 16 pairs may take 55,296 bytes of JSON.
BATCH_LINES_MOST = 20_000  # The most lines of a batch, blank lines not counted.
BATCH_LINE_BYTES_MOST = 1_000_000  # The most bytes of a batch's line, without the end of the line.
BATCH_WINDOW_HOURS_MOST = 168  # A week.
# The most bytes of lines in one answer about a batch's growing output file, read in pieces of BATCH_PORTION_BYTES. Each
# MiB takes up to 7 ms of processor time (docs/performance.md), and the free plan has 10 ms for an invocation.
EARLY_BYTES_MOST = {"free": 512 * 1_024, "paid": 64 * 1_024 * 1_024}
BATCH_PORTION_BYTES = 1_048_576  # The most bytes of a batch's files that a run holds at once, except of single lines.
# How many portions of its input file a batch's run checks, in 5 to 14 ms of CPU each, and its writer reads, in 2 or 3.
BATCH_PORTIONS_A_RUN = {"free": 4, "paid": 100}
BATCH_PORTIONS_A_WRITER = {"free": 16, "paid": 100}
TEXT_PORTION_BYTES = 1_048_576  # How much of a text in a file is cut at once.
TEXT_PORTIONS_A_RUN = {"free": 4, "paid": 100}  # How many portions of a text one run cuts at most.
BATCH_LINES_KEPT_BYTES = 2_097_152  # The most memory for lines whose calls a run has in flight, or has read ahead.
# The characters from which a segment of a batch takes no more lines, because an object is made of whole segments.
SEGMENT_CHARS_OF_BATCH = 1_048_576
RETRY_READ_BYTES_MOST = 4 * 1_024 * 1_024  # The most bytes that a retry of a batch reads of its input at once.
BATCH_READ_PAUSE_SECONDS = 1.0  # The first pause of a run that cannot read its lines; it doubles with each failure.
# How long a task with its text in a file waits for a bucket that does not answer, or is not bound any more, before it
# fails. A batch waits until its completion window is over.
BUCKET_PATIENCE_SECONDS = 86_400.0
LOST_LINES_A_WRITE = 500  # How many lines that cannot be read one write gives up at most.
LOST_PART_SECONDS = 900  # How long readers must miss a part of a complete file in the bucket before it counts as lost.
MISS_KEPT_SECONDS = 3_600  # For how long it counts that a reader missed a part; readers look every ten minutes or so.
WRITER_SECONDS = 60.0  # How long a writer has a batch whose files it completes, from its last write on.
WRITER_SLICE_SECONDS = 20.0  # How long a writer works in one invocation; `waitUntil` is cut after 30 s.
BATCHES_WRITTEN_A_SWEEP = {"free": 1, "paid": 20}  # The batches whose files one sweep completes at most.
BATCH_ERRORS_MOST = 100  # The most faults that a batch reports of its lines.
CUSTOM_ID_CHARS_MOST = 64
# The most characters of the answer in a line of a batch's output file, and of the whole line, which is ASCII. A line of
# random letters, compressed and in hexadecimal digits, still fits into the 2,000,000 bytes that D1 allows.
ANSWER_CHARS_MOST = 1_000_000
OUTPUT_LINE_CHARS_MOST = 1_100_000
ANSWER_CHOICES_MOST = 100  # The most choices of an answer: each may grow by some 110 characters in its line.
# The most characters of the body with which a provider refused a line, as JSON in ASCII. Each refused line keeps one in
# the database until it is in the error file: 41 MB of a batch whose 20,000 lines are refused.
REFUSAL_CHARS_MOST = 2_048
REFUSAL_MESSAGE_CHARS_MOST = 1_000  # The most characters of the message of such a body that is not kept whole.
REFUSAL_READ_BYTES_MOST = 262_144  # The most bytes of such a body that are parsed, to keep its message if it is larger.

# --- Structured output ----------------------------------------------------------------------------------
SCHEMA_BYTES_MOST = 32_768  # The most bytes of an output schema as compact JSON.
SCHEMA_PROPERTIES_MOST = 5_000  # The most properties of an output schema, as at OpenAI.
SCHEMA_LEVELS_MOST = 10  # The most levels of objects and arrays in an output schema, as at OpenAI.
SCHEMA_ENUM_VALUES_MOST = 1_000  # The most values of `enum` and `const` together, as at OpenAI.
SCHEMA_ENUM_PARTS_MOST = 4_000  # The most values that those consist of, with the values inside arrays and objects.
SCHEMA_ALIKE_MOST = 4  # The most schemas of one `anyOf` that are for one type of values and that nothing tells apart.
SCHEMA_ALTERNATIVES_MOST = 500  # The most schemas in all `anyOf` of an output schema together, besides null.
VALUE_LEVELS_MOST = 64  # The most levels of an output as JSON, because Python's parser recurses.
CHECK_EFFORT_MOST = 120_000  # The most effort of one output's check; a unit takes up to a microsecond in WebAssembly.
JOIN_FIELDS_MOST = 5_000  # The most fields of an output that `join` may join, without those within arrays.
SUMMED_MAGNITUDE_MOST = 1e300  # The largest number in a summed field, so that the sum over CHUNKS_MOST is a double.
JOIN_BYTES_MOST = 32_768  # The most bytes of the rules of `join` as compact JSON.
SCHEMA_NAME_CHARS_MOST = 64  # OpenAI's

# --- What a tenant may have ---------------------------------------------------------------------------
NOT_BEFORE_SECONDS_MOST = 7 * 86_400  # How far ahead a task's start may be.
PRICE_WAIT_SECONDS = 600.0  # How long a task with a cap waits for a price, before it looks again.
HOST_WAIT_SECONDS_MOST = 86_400.0  # A task that waits longer is left to the sweep.
CAP_SPREAD_SECONDS = 240.0  # Tasks that a changed cap or a new month wakes go on within so many seconds.
CAP_WAKES_MOST = 100  # How many of them one step wakes.
RESET_SECONDS_MOST = 7 * 86_400.0  # The longest wait for a reset that a provider names; then a call asks again.
RESET_SPREAD_SECONDS = 300.0  # Tasks that wait for a reset go on within so many seconds after it.
IDEMPOTENCY_SECONDS = 86_400
IDEMPOTENCY_KEY_CHARS_MOST = 255
DEADLINE_SECONDS_MOST = 2_592_000  # 30 days
MODEL_CALLS_MOST = 1_000_000
TASKS_IN_FLIGHT_MOST = 10_000  # The highest MAX_TASKS_IN_FLIGHT: a submission reads a row or two for each such task.
CHARACTERS_A_DAY_MOST = 1_000_000_000_000
IN_FLIGHT_RETRY_SECONDS = 10
OBJECTS_AT_WORK_MOST = 10_000  # The highest MAX_OBJECTS_AT_WORK: a dispatch reads a row or two for each such object.

# --- Merging ----------------------------------------------------------------------------------------
MERGE_CHARS_LEAST = 2_000  # Even if chunks are small, a merge call may take this many characters of outputs.

# --- D1 ---------------------------------------------------------------------------------------------
PIECE_BYTES_MOST = 900_000  # As hexadecimal SQL parameter a piece is twice as long, and D1 allows 2,000,000 bytes.
PIECES_A_STATEMENT = 6  # The most pieces that one SQL statement records: as many as a group of calls has large outputs.
SEGMENT_BYTES = 32_768  # A segment of this compressed size takes no more outputs, as each write rewrites all of it.
COMPRESSION_LEVEL = 6
# The most characters of a task's text that a run reads at once; the first claim reads a shorter text whole.
WINDOW_CHARS_MOST = 131_072
WINDOW_CHUNKS_LEAST = 40  # The least number of chunks that a claim reads: as many as a free run can process.
MERGE_CALLS_READ = 32  # The most merge calls for which a run reads the outputs to be merged at once.
MERGE_OUTPUTS_COPIED = 500  # The most merge outputs that a retry of gaps reads at once, to copy them.
# The most characters of merge outputs that a run keeps in memory; it reads further ones again when it needs them.
OUTPUTS_KEPT_CHARS = 4_000_000
ANSWER_CHARS_AT_ONCE = 2_000_000  # The most characters of output read at once for an answer; more are sent in parts.
# How much work an event does without an await, counted as reading and writing so many characters of JSON: 10 to 30 ms.
WORK_CHARS_AT_ONCE = 400_000
# To find out where a quote is in a joined value takes as long as to read and write so many characters of JSON.
QUOTE_CHARS = 400
# The most characters of outputs with quotes that are read at once for an answer: each quote takes more than its text.
QUOTED_CHARS_AT_ONCE = 250_000
QUOTES_AT_ONCE = 10_000  # The most quotes of an answer that is not sent in parts.
# Up to how many characters of outputs a joined value is held whole; a longer one is read anew for each of its arrays.
JOINED_CHARS_HELD = 8_000_000
# For how many characters of outputs a union is marked at once. Their different items take a set of at most 30 MB.
UNION_CHARS_AT_ONCE = 16_000_000
# The most characters of outputs that are read at once for a result that is also a value, which is parsed, too.
VALUE_CHARS_AT_ONCE = 500_000
CHUNKS_AT_ONCE = 1_000  # The most chunks that are read at once for an answer: to show them takes some 50 ms.
STORE_SENDS = 3  # How often the store sends one write to D1 at most; every write is safe to send again.
STORE_RESEND_SECONDS = 0.1
STORE_SECONDS = 30.0  # When the store gives up a D1 call without an answer; its write may still take effect later.
STORE_SECONDS_OF_REQUEST = 10.0  # When the store gives up a D1 call for an HTTP request, whose client waits.
LATE_SECONDS_MOST = 3_600.0  # How late a write that was given up may take effect: seconds were seen; clocks jump.
OVERLOAD_SECONDS = 5.0  # How long D1 may take to answer before an isolate refuses new tasks.
OVERLOAD_PROBE_SECONDS = 5.0  # How often an isolate that refuses new tasks accepts one task to probe D1.
OVERLOAD_FORGET_SECONDS = 60.0  # The age at which the caller of an unanswered D1 call has surely given up.
# Millions of bytes. A database of D1 holds 500 MB on the free plan and 10 GB on the paid one. STORAGE_MB_MOST leaves at
# least a twentieth of the space for what running tasks still have to store.
STORAGE_MB_MOST = {"free": 450, "paid": 9_500}
CLEAR_FRACTION = 0.9  # The part of STORAGE_MB_MOST above which the sweep erases ended tasks early.
FILES_FRACTION = 0.6  # The part of it from which on uploads to the database are refused, before tasks are erased early.
CLEAR_TASKS_MOST = 40  # The most tasks that one transaction of the sweep erases before their retention is over.
CLEAR_PAGES_MOST = {"free": 1, "paid": 10}  # The most pages of tasks that one sweep erases early.
CLEAR_WALK_MOST = 1_000  # How many tasks one page of early erasure reads, whether they can be erased or not.
KEPT_SECONDS_LEAST = 86_400.0  # How long ago a task must have ended for the sweep to erase it early.
STORAGE_COUNT_SECONDS = 21_600.0  # How often the sweep counts the tenants' storage, reading a row for each task.
STORAGE_TENANTS_MOST = 50  # How many tenants' storage is recorded after a count: those tenants that store most.
STORAGE_MEASURE_SECONDS = 10.0  # How often an isolate that refuses new tasks reads the database's size.
STORAGE_PAUSE_SECONDS = 600.0  # How long a task pauses after the database had no space for a call's output.
ROOM_BYTES_A_CALL = 65_536  # The free bytes that a call needs in a nearly full database; most outputs take 4 KB.
ROOM_BYTES_MOST = 1_500_000  # The most free bytes that a run's calls need together; D1 allows 2,000,000 bytes a row.
AHEAD_COUNTED_SECONDS = 5.0  # For how long a task must have waited before a poll counts the tasks ahead of it.
AHEAD_COUNTED_MOST = 100  # The most unfinished tasks of a tenant that a poll counts.
LIST_WALK_MOST = 500  # The most tasks that a filtered page of the task list reads, and that its counts read.
EXTRA_CHARS_MOST = 256  # The most characters of a text that a feature lets clients give a task.
SEARCH_CHARS_MOST = 100  # The most characters of a text for which a client searches the list of tasks.
FIRST_LINE_CHARS_MOST = 120  # The first line of a task's text, which may name the task, is cut to this length.
FIRST_LINE_WITHIN_CHARS = 1_000  # How many blank characters may come before the first line of a task's text.
ATTEMPTS_LOGGED_MOST = 10  # The most failed calls that a task's log of calls keeps for one output.
ATTEMPT_MESSAGE_CHARS_MOST = 300  # The most characters of an error message in a task's log of calls.

# --- Memory of an isolate: see `kernel/run/memory.py` -------------------------------------------------
# What all requests and runs of an isolate may hold together. Of its 128 MB Python has 46 after the import, which only
# grow, and JavaScript some 20.
MEMORY_BYTES = 12 * 1_024 * 1_024
MEMORY_FREE_BYTES = 65_536  # A body with fewer bytes is not counted.
MEMORY_A_BYTE = 4  # How many copies of its bytes a body, or the lines of a batch, take at most while they are handled.
MEMORY_UPLOAD_BYTES = 524_288  # What an upload takes besides its part: the chunk that is read, and its copies.
MEMORY_ANSWER_BYTES = 4 * 1_024 * 1_024  # What an answer in parts takes: one part, in Python and in JavaScript.
MEMORY_WRITER_BYTES = 4 * 1_024 * 1_024  # What the writer of a batch's file holds besides the part: lines, as text.
MEMORY_WAIT_SECONDS = 2.0  # How long a request waits for memory before it is refused.
MEMORY_RUN_WAIT_SECONDS = 10.0  # How long a run waits for memory before it gives its task back for a while.
MEMORY_LOOK_SECONDS = 0.1  # How often a request or run that waits for memory looks again.
# After how many seconds without a sign of life memory is taken back: a put that is sent BLOB_SENDS times takes less.
MEMORY_SHARE_SECONDS = 120.0

# --- Files --------------------------------------------------------------------------------------------
FILE_BYTES_DEFAULT = 50_000_000
FILE_BYTES_MOST = 95_000_000  # The platform lets a request's body have 100 MB.
FILES_BYTES_DEFAULT = 2_000_000_000
FILES_BYTES_MOST = 10**15
FILES_DEFAULT = 10_000  # The most files of a tenant, as many as one list shows; an upload counts them.
FILES_MOST = 1_000_000
FILE_BYTES_MOST_IN_D1 = 1_500_000  # Without R2 the bytes of files share the database with all tasks.
FILE_PART_BYTES = 4 * 1_024 * 1_024  # An isolate has 128 MB, and a part is held whole while it is stored.
FILE_PART_BYTES_IN_D1 = 512 * 1_024  # The parameter is hexadecimal, twice as long; D1 allows 2,000,000 bytes.
FILE_READ_BYTES_MOST = 4 * 1_024 * 1_024  # The most bytes of a file that are read at once.
BLOB_SENDS = 3  # How often one call to R2 is made at most, while R2 answers with a passing error.
BLOB_RESEND_SECONDS = 0.2
BLOB_SECONDS = 30.0  # When a call to R2 without an answer is given up; its write may still take effect later.
BLOB_KEYS_MOST = 1_000  # The most keys that one call to R2 lists or deletes.
FILE_ROWS_ERASED = 100  # The most parts of files in D1 that one call to D1 erases.
FORM_BYTES_MOST = 300_000  # The most bytes that the body of an upload may have in addition to the file's bytes.
FILENAME_CHARS_MOST = 255
FILE_EXPIRY_SECONDS = (3_600, 2_592_000)  # The least and the greatest value of `expires_after[seconds]`.
FILE_LIST_LIMIT_MOST = 10_000  # The most files in a list, and their number without `limit`, both as at OpenAI.
FILE_LIST_PAGE = 1_000  # The most files that one call to D1 lists.
UPLOAD_SECONDS_MOST = 3_600  # How long an upload may take; the sweep erases an upload that is not complete by then.
FILE_ERASE_SECONDS = 300  # How long after a failed erasure of a file the sweep tries again to erase the file.
FILE_IN_USE_SECONDS = 600  # How long the sweep waits before it checks again an expired file that a batch still reads.
FILES_A_SWEEP = {"free": 2, "paid": 100}  # The most files that one sweep erases; erasing a file takes two calls to R2.
ORPHAN_SECONDS = 86_400  # The age at which a file's part that no database row names counts as an orphan, and is erased.
ORPHANS_APART_SECONDS = 3_600  # How often the next page of stored parts is searched for orphans.
ORPHANS_A_PAGE = {"free": 200, "paid": 1_000}  # How many stored parts one search for orphans reads.

# --- Processing -------------------------------------------------------------------------------------
# SLICE_SECONDS is how long a run may start calls; after WALL_SECONDS the platform ends the run's invocation (Workers,
# Limits: duration; Queues, Limits: consumer wall time; Durable Objects, Alarms). `kernel/run/allowance.py` uses both.
QUEUE_SLICE_SECONDS = 600.0
QUEUE_WALL_SECONDS = 900.0  # The platform allows a queue's consumer 15 minutes.
DIRECT_SLICE_SECONDS = 20.0
DIRECT_WALL_SECONDS = 30.0  # The platform cuts `waitUntil` 30 s after the answer to the request.
SWEEP_SLICE_SECONDS = 600.0
SWEEP_WALL_SECONDS = 900.0  # The platform allows a cron trigger 15 minutes.
OBJECT_SLICE_SECONDS = 300.0
OBJECT_WALL_SECONDS = 900.0  # The platform allows an object's alarm 15 minutes.
WALL_MARGIN_SECONDS = 5.0  # The time reserved at a run's end: START_SECONDS of its last call, and the last write.
SUBREQUESTS = {"free": 45, "paid": 900}  # The most subrequests of an invocation; the platform allows 50 and 10,000.
STATEMENTS = {"free": 45, "paid": 900}  # The most D1 statements of one invocation; the platform allows 50 and 1,000.
RUN_LEAST = 20  # The subrequests and D1 statements that an invocation must have left to start a run.
# A model call must start within a certain time after it was announced, or it is announced again. This time is
# START_LATENCIES writes to D1 plus START_SECONDS_MORE, but START_SECONDS at least and START_SECONDS_MOST at most.
START_SECONDS = 2.0
START_SECONDS_MOST = 20.0
START_LATENCIES = 2.0
START_SECONDS_MORE = 1.0
LATENCY_SECONDS_KEPT = 60.0  # How long an isolate remembers how much time D1 took for the isolate's writes.
# The pause after calls were announced and none of them started; it doubles each time this happens again in a row.
START_PAUSE_SECONDS_FIRST = 1.0
START_PAUSE_SECONDS_MOST = 30.0
FRUITLESS_MOST = 3  # How many announcements in a row without a started call end a run that has no call in flight.
IDLE_SECONDS_FIRST = 5.0  # How long a task pauses after a run that started no call; doubled for each such run.
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
# A run that waits for slow calls checks its claim LOOK_SECONDS_FIRST after its last write, then after pauses that
# double up to LOOK_SECONDS_MOST: at most LOOKS_MOST times, and at least LOOK_LATENCIES writes to D1 apart.
LOOK_SECONDS_FIRST = 5.0
LOOK_SECONDS_MOST = 10.0  # The most seconds between two checks of a claim: a cancelled task frees its host in 15 s.
LOOK_LATENCIES = 10.0
LOOKS_MOST = {"free": 10, "paid": 100}
TELL_SECONDS = 2.0  # How long the notice of a cancellation may take to the task's object, and from there to a lane.
CANCEL_SECONDS_MOST = 22.0  # How long the API may delay a cancellation; the contract promises an answer in 25 s.
UNHEARD_SECONDS_MOST = 2.0  # How long a lane goes on with calls that no RPC waits for, while the run waits for R2.
DROP_SECONDS_MOST = 1.0  # How long a run waits for cancelled calls to close their connections.
INLINE_WAIT_SECONDS_MOST = 30.0  # How long a run may wait with its claim; for a longer wait it releases the claim.
# On Cloudflare the clock advances only when a timer fires, and Pyodide's event loop sets no timer for 2 ms or less.
TIMER_SECONDS_LEAST = 0.003  # The least duration of a wait for a point in time, because a shorter wait might never end.

# --- A task whose workers die -------------------------------------------------------------------------
STALL_REST_SECONDS = 500.0  # The time between the first and the last claim in a row without a finished call.
STALL_SECONDS_LEAST = 600.0  # The time from the first claim in a row without a finished call to the failure.

# --- Retry ------------------------------------------------------------------------------------------
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MOST = 60.0
AWAY_SECONDS_FIRST = 1.0  # The first pause between probes of a model that is away; doubled after each failure.
AWAY_SECONDS_MOST = 300.0  # The longest pause between probes of a model that is away: at most 32 probes an hour.
AWAY_SECONDS_KEPT = 900.0  # For how long after its last failure an isolate remembers that a model was away.
AWAY_NEWCOMER_SECONDS = 10.0  # How long after other tasks' probes a task that has not failed may probe a model.
AWAY_PROBE_SECONDS = 30.0  # How long a task whose own pause is over waits for another task's probe at most.
AWAY_CLOCK_SECONDS = 5.0  # How far D1's clock may seem to differ from an isolate's, with the transfer time.
AWAY_LOOK_SECONDS = 2.0  # How often a run that waits for its model checks whether another run had a success.
# How long a run on the queue waits while its model is away: only briefly, because other tasks may need the queue's
# consumer. Else it waits for at most UNCOUNTED_SECONDS_MOST, the longest pause in a brown-out.
QUEUE_AWAY_WAIT_SECONDS_MOST = 2.0
# The longest time for which a run on the queue releases a task that only waits for its turn to probe the model.
QUEUE_PROBE_WAIT_SECONDS_MOST = 120.0
MODEL_HEALTHS_MOST = 1_000  # The most pairs of tenant and model that an isolate remembers, some 3 KB each.

# --- Failures of the service: see `kernel/calls/model_health.py` ------------------------------------------------------
OTHERS_MOST = 10  # How many other chunks' latest calls at most decide whether a chunk's failure counts.
OTHERS_LEAST = 3
OTHERS_SECONDS = 900.0  # How old the other chunks' calls may be that decide whether a chunk's failure counts.
OTHERS_SHARE = 0.8  # The share of other chunks' calls that must succeed for a failure to count against a chunk.
LATEST_CALLS_KEPT = OTHERS_MOST + 1
FAILURES_COUNTED_MOST = 10  # The number of counted failures after which a chunk fails for good.
# The pauses of a chunk after each of its counted failures except the last.
COUNTED_PAUSES_SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 160.0, 160.0, 160.0)
UNCOUNTED_SECONDS_MOST = 8.0  # The longest pause after an uncounted failure, unless the model is away.
BROWN_OUT_SECONDS = 30.0  # How long after a tenant's success a failing model is in a brown-out, not away.
WIDEN_SECONDS = 10.0  # How long after the last failure a run may have its usual number of calls in flight again.
SHARE_CALLS_SECONDS = 300.0  # How long after a failed call isolates exchange their latest calls through D1.
PATIENCE_SECONDS_MOST = 86_400
RATE_LIMIT_SECONDS_FIRST = 2.0  # The first pause after an answer 429 without a Retry-After.
# The least first pause after an answer 429 with a Retry-After; obeying a Retry-After of 0 would cause a storm of calls.
RATE_LIMIT_SECONDS_LEAST = 0.125
RATE_LIMIT_SECONDS_MOST = 3_600.0
RATE_LIMIT_WAITS_MOST = 100  # How many waits after answers 429 in a row, without a finished call, make a task fail.

# --- A day on the free plan -----------------------------------------------------------------------------
# An account's allowances on the free plan from midnight UTC to midnight UTC, named as in `usage` of /api/async-status.
FREE_PLAN_DAY = {
    "requests": 100_000,  # How many requests the Worker may handle: HTTP requests, cron runs and queue batches.
    "rowsRead": 5_000_000,  # Rows read in D1.
    "rowsWritten": 100_000,  # How many rows may be written in D1, index entries included.
    "queueOperations": 10_000,  # Operations of queues; a queue message that is delivered once takes three.
    "objectRequests": 100_000,  # How many calls to Durable Objects are allowed, alarms included.
    "objectRowsWritten": 100_000,  # How many rows Durable Objects may write in their own storage, alarms included.
    "objectGbSeconds": 13_000,  # GB-seconds of memory of Durable Objects; an object at work counts as 128 MB.
}

# --- Dispatch and sweep -----------------------------------------------------------------------------
QUEUE_SHARE = 100  # The most tasks of one tenant in the queue; each further task goes to a Durable Object of its own.
SEND_SECONDS = 5.0  # A dispatch to a route that takes longer than this counts as failed, and the next route is tried.
QUEUE_DELIVERIES = 3  # How often a queue message is delivered at most, because wrangler.toml has max_retries = 2.
QUEUE_DELAY_SECONDS_MOST = 43_200  # The platform's longest delay of a queue message: 12 hours.
QUEUE_RETRY_SECONDS = 30
SWEEP_PAGE_TASKS = 100  # How many tasks a sweep reads at once; the sweep reads more pages while its allowance lasts.
SWEEP_SHIFTS = 37  # By how many tenants a sweep's shifts advance each minute: prime, and as many as a sweep can serve.
SLOTS_WALK_MOST = 500  # How many of a tenant's tasks are read to fill free slots, besides MAX_OBJECTS_AT_WORK.
SLOT_KEPT_SECONDS = 0.25  # A task keeps its object slot in a shorter pause: to pass the slot on takes about as long.
SLOTS_GIVEN_MOST = {"free": 10, "paid": 500}  # The most object slots that a sweep gives to waiting tasks.
SWEEP_QUEUE_SHARE = 10  # How many of a tenant's tasks a sweep adds to the queue; the other tasks go to Durable Objects.
ERASE_OUTPUTS_MOST = 5_000  # The most chunks that all tasks erased in one transaction may have together.
ERASE_TASKS_MOST = {"free": 40, "paid": 200}  # The most tasks that one transaction of the sweep erases.
ERASE_PAGES_MOST = {"free": 1, "paid": 5}  # The erasing transactions of one sweep: 1,440,000 tasks a day if paid.
OBJECT_FAILURES_MOST = 6
OBJECT_START_SECONDS = 5.0  # For how long a Durable Object that was just started counts as about to work.
# How long after a slice's start the object's next alarm is set, in case the slice dies; no two alarms run at once.
OBJECT_RETURN_SECONDS = 10.0

# --- Lanes of a long task, where objects are bound ------------------------------------------------------
LANE_CALLS = 6  # How many calls a lane makes at a time: six connections of an invocation may wait for headers.
LANE_CHUNKS = 24  # How many chunks justify one more lane: a lane makes a task's calls in another invocation.
LANES_FROM_CHUNKS = 2 * LANE_CHUNKS  # The least chunks of a task with lanes; fewer would give it only one lane.
LANES_MOST = 5  # The most lanes of a task: its host waits for one RPC per lane, and has six connections.
LANE_SLACK_SECONDS = 5.0  # The time allowed for an RPC's way to a lane and back.
LANE_LINGER_FRACTION = 0.22  # The part of its wait that a lane with a finished call adds: calls may differ by a tenth.
COORDINATOR_IDLE_SECONDS = 3_600.0
SWEEP_BACKOFF_DOUBLINGS_MOST = 6
SEEN_SECONDS = 150.0  # How often each trigger of the Worker may record that it came; each record writes one row.
SWEEP_SEEN_SECONDS = 90.0  # How often the sweep may record that it came; cron starts the sweep every 60 s.
EARLY_SECONDS_ALLOWED = 1.0  # How many seconds too early a message to continue a task may arrive.

# --- Sums over ended tasks, for metrics and plots ---------------------------------------------------------
HISTORY_SECONDS = 172_800.0  # How long the sums over each five minutes are kept.
HISTORY_BUCKET_SECONDS = 300.0
HISTORY_HOURS_DEFAULT = 24
FOLD_TASKS_MOST = {"free": 500, "paid": 5_000}  # The most ended tasks that a transaction adds to sums, at 3 rows each.
FOLD_PAGES_MOST = {"free": 1, "paid": 5}  # The most transactions in which one sweep adds ended tasks to the sums.
FORGOTTEN_MOST = 1_000  # The most tenants' latest calls, and counts of characters, that one sweep forgets.
SAMPLE_TASKS_MOST = {"free": 1_000, "paid": 10_000}  # The most unfinished tasks counted for metrics, at two rows each.
METRICS_TENANTS_MOST = 20  # How many tenants' use of limits the metrics show: those tenants that use most of them.
METRICS_TENANTS_READ = 1_000

# --- Requests that replace cron, queue or alarms -----------------------------------------------------------
LATE_TASK_SECONDS = 60.0  # How late a task without a worker is when a poll dispatches it, once in this time.
SENDS_IN_VAIN = 2  # After how many dispatches in vain a request that reads a task works on the task itself.
STAND_IN_SECONDS = 20.0  # How long a poll's model calls may continue after its answer; `waitUntil` has 30 s.
ASKED_SWEEP_APART_SECONDS = 30.0  # How far apart two runs of `POST /api/sweep` are at least.
RESUME_APART_SECONDS = 30.0  # How far apart two requests to end pauses are at least.
RESUME_SECONDS = 50.0  # How long such a request waits for the answers of the models, half of it after its own answer.
RESUMED_TASKS_MOST = 1_000  # The most tasks whose pauses such a request ends.
PROBES_AT_ONCE_MOST = 5  # How many models such a request lets be called at a time.
PROBE_SLICE_SECONDS = 5.0  # For how long such a call may start in the request's own invocation.
PROBE_LOOK_SECONDS = 0.5  # How soon the answer of a model is looked for; doubled after each look.
PROBE_LOOK_SECONDS_MOST = 3.0
ASKED_SWEEP_SECONDS = 25.0  # How long `POST /api/sweep` starts calls; the answer follows the last call's end.
SWEEP_MISSED_SECONDS = 180.0  # After so long without a sweep, any request runs one after its own answer.
SWEEP_LOOK_SECONDS = 60.0  # How often at most an isolate checks whether a sweep was missed.

# --- Webhooks -----------------------------------------------------------------------------------------------
WEBHOOK_ENDPOINTS_MOST = 10  # The most webhook endpoints of a tenant.
WEBHOOK_NAME_CHARS_MOST = 100
WEBHOOK_URL_CHARS_MOST = 2_000
OLD_SECRET_SECONDS = 86_400  # How long a webhook endpoint's previous secret also signs, if a rotation keeps it.
DELIVERY_SECONDS = 15.0  # The longest time of one attempt to send a webhook delivery.
DELIVERY_HELD_SECONDS = 60.0  # How long a sender holds a webhook delivery: for an attempt and its record.
DELIVERIES_AT_ONCE = 5  # How many webhook deliveries are sent at a time; six connections may wait for headers.
DELIVERIES_AT_ONCE_FAILING = 2  # How many of these may go to endpoints whose last attempt failed, which may hang.
DELIVERIES_SHARE = 30  # How many deliveries of a tenant may be held where its tasks end; the sweep sends those beyond.
DELIVERY_START_SECONDS = 10.0  # How long a webhook sender starts attempts; `waitUntil` is cut after 30 s.
DELIVERIES_A_SWEEP = {"free": 5, "paid": 100}
DELIVERIES_OF_ENDPOINT = 20  # How many webhook deliveries a sweep sends to an endpoint whose last attempt failed.
DELIVERIES_WALK_MOST = 500  # How many webhook deliveries of one tenant or endpoint a sweep reads or ends at once.
# The pauses of a webhook delivery after each failed attempt in a row; the last one repeats until a day has passed.
DELIVERY_WAITS_SECONDS = (5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0)
DELIVERY_SECONDS_MOST = 86_400.0  # The time from the beginning of a webhook delivery to its last attempt at the latest.
DELIVERY_SECONDS_KEPT = 90_000.0  # The age at which a delivery to a paused endpoint, never tried, is given up.
DELIVERY_RETRY_AFTER_SECONDS_MOST = 3_600.0
DELIVERY_ATTEMPTS_SHOWN = 20
ATTEMPTS_FAILING = 10  # After this many failed attempts in a row `doctor` warns of a webhook endpoint.
BREAKER_FAILURES = 5  # After this many failures in a row a webhook endpoint is paused, then one delivery is tried.
BREAKER_WEIGHT_OF_TIMEOUT = 3  # How many failures a timeout counts as, so that two in a row pause the endpoint.
BREAKER_SECONDS_FIRST = 30.0  # The first pause of a failing webhook endpoint; each further failure doubles it.
BREAKER_SECONDS_MOST = 1_800.0
WEBHOOK_KEY_CHARS_LEAST = 32

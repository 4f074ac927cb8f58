"""The kinds of faults, each with its number in the design's list of faults to survive."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault. `rate` is the usual probability that the fault strikes when it is offered."""

    number: int
    name: str
    rate: float
    meaning: str


_ALL = (
    FaultKind(1, "duplicate_delivery", 0.10, "a queue message is delivered once more, maybe at the same time"),
    FaultKind(1, "send_reply_lost", 0.05, "the queue took the message, the sender sees an error"),
    FaultKind(2, "message_reordered", 0.20, "a later message goes first"),
    FaultKind(2, "message_delayed", 0.10, "a message arrives up to some minutes late"),
    FaultKind(3, "consumer_exception", 0.05, "the consumer's invocation fails after its work was done"),
    FaultKind(4, "retries_exhausted", 0.02, "every delivery of a message dies, down to the dead-letter queue"),
    FaultKind(5, "message_lost", 0.03, "a message that was accepted is gone"),
    FaultKind(6, "crash_before_enqueue", 0.03, "the isolate dies between its D1 write and the send"),
    FaultKind(6, "send_failed", 0.05, "the queue refuses the message (quota)"),
    FaultKind(7, "crash_before", 0.01, "the isolate dies at an await, and its request never left"),
    FaultKind(7, "crash_after", 0.01, "the isolate dies at an await, and its request took effect"),
    FaultKind(7, "cpu_exceeded", 0.004, "a BaseException out of an await: the CPU limit"),
    FaultKind(7, "cancelled", 0.004, "CancelledError out of an await: the invocation is being cancelled"),
    FaultKind(7, "wait_until_cut", 0.10, "what was given to waitUntil is cut short"),
    FaultKind(8, "d1_failed_before_commit", 0.02, "D1 answers with an error and did nothing"),
    FaultKind(8, "d1_failed_after_commit", 0.02, "D1 answers with an error and did it"),
    FaultKind(9, "d1_overloaded", 0.02, "D1 turns the request away"),
    FaultKind(9, "d1_slow", 0.02, "D1 takes seconds"),
    FaultKind(10, "object_evicted", 0.03, "an object loses its memory at an await, its storage stays"),
    FaultKind(10, "write_lost_at_eviction", 0.02, "an object dies before its last storage writes were flushed"),
    FaultKind(10, "rpc_failed_before", 0.04, "an object call fails and was never made"),
    FaultKind(10, "rpc_failed_after", 0.04, "an object call fails although it was carried out"),
    FaultKind(11, "alarm_repeated", 0.10, "an alarm fires once more after it succeeded"),
    FaultKind(11, "alarm_late", 0.10, "an alarm fires up to some minutes late"),
    FaultKind(11, "alarm_dropped", 0.03, "an alarm is given up, as after six failures"),
    FaultKind(12, "worker_frozen", 0.01, "an isolate stands still beyond its lease and then goes on"),
    FaultKind(12, "object_zombie", 0.02, "an old instance of an object goes on while a new one starts"),
    FaultKind(13, "clock_skewed", 0.30, "an isolate's clock is off"),
    FaultKind(13, "clock_jumped", 0.01, "a clock jumps: an isolate's, or the database's"),
    FaultKind(14, "poison_message", 0.03, "a message that no consumer can read is in the queue"),
    FaultKind(15, "model_hang", 0.02, "the model never answers; the call times out"),
    FaultKind(15, "model_slow", 0.05, "the model takes most of the timeout"),
    FaultKind(15, "model_rate_limited", 0.05, "429, with or without a delay"),
    FaultKind(15, "model_unavailable", 0.05, "5xx"),
    FaultKind(15, "model_reply_lost", 0.03, "the model did the work, its reply is lost"),
    FaultKind(15, "model_malformed", 0.03, "2xx without a usable output"),
    FaultKind(15, "model_unreachable", 0.0, "the connection is lost before the model saw the call"),
    FaultKind(16, "client_repeated", 0.10, "the client sends its request again"),
    FaultKind(16, "client_reply_lost", 0.05, "the request was carried out, the client never learns"),
    FaultKind(17, "upgraded", 0.02, "another deployment takes over under running tasks"),
    FaultKind(18, "user_raced", 0.05, "cancel, delete or retry comes in the middle"),
    FaultKind(19, "rate_limiter_failed", 0.10, "the limiter of requests answers with an error"),
    FaultKind(19, "rate_limiter_hung", 0.05, "the limiter of requests never answers"),
    FaultKind(19, "rate_limiter_slow", 0.10, "the limiter of requests takes seconds"),
    FaultKind(19, "rate_limiter_loose", 0.10, "the limiter of requests lets through what is beyond the limit"),
    FaultKind(20, "d1_lands_later", 0.01, "D1 answers a write with an error and does it up to 30 s later"),
    FaultKind(21, "d1_never_answers", 0.005, "D1 never answers; it may have done what was asked"),
    FaultKind(22, "d1_shared", 0.005, "D1 serves many callers, one at a time, and nobody for up to 30 s"),
    FaultKind(23, "d1_full", 0.01, "D1 may not grow for up to a quarter of an hour; what fits into it is written"),
    FaultKind(24, "queue_dead", 0.04, "a batch fails at entry: no code of the Worker runs"),
    FaultKind(24, "cron_dead", 0.03, "a cron trigger fails at entry"),
    FaultKind(24, "alarm_dead", 0.05, "an alarm fails at entry"),
    FaultKind(24, "rpc_dead", 0.02, "a call of an object fails at entry"),
    FaultKind(25, "model_away", 0.01, "the model is away for all, from a second to half an hour"),
    FaultKind(
        26, "stream_cut", 0.15, "a client's stream of events is cut off behind an event, and the client comes back"
    ),
    FaultKind(27, "receiver_failed", 0.15, "a webhook's receiver answers 5xx"),
    FaultKind(
        27, "receiver_hung", 0.05, "a webhook's receiver answers after the timeout; it may have taken the message"
    ),
    FaultKind(27, "receiver_redirected", 0.05, "a webhook's receiver sends elsewhere"),
    FaultKind(27, "receiver_gone", 0.05, "a webhook's receiver answers 410, and nothing else from then on"),
    FaultKind(27, "receiver_limited", 0.05, "a webhook's receiver answers 429 with a delay"),
    FaultKind(27, "receiver_closed", 0.05, "a webhook's receiver refuses the connection"),
    FaultKind(27, "receiver_reply_lost", 0.08, "a webhook's receiver took the message, and its answer is lost"),
    FaultKind(28, "clock_standing", 1.0, "an isolate's clock stands still in a turn, and is exact in timers"),
    FaultKind(29, "stock_loop", 0.5, "delays of up to 2 ms are microtasks, and longer ones lose what is below one"),
    FaultKind(29, "handle_overtaken", 0.05, "a handle that is ready runs ahead of an older one of its turn"),
    FaultKind(30, "promises_alone", 1.0, "an object's waitUntil is called: it drops a coroutine without an error"),
    FaultKind(31, "r2_failed_before", 0.02, "R2 answers with an error and did nothing"),
    FaultKind(31, "r2_failed_after", 0.02, "R2 answers with an error and did what it was asked"),
    FaultKind(31, "r2_lands_later", 0.02, "R2 answers with an error and does it up to two minutes later"),
    FaultKind(31, "r2_lands_twice", 0.03, "a put or a deletion lands once more, up to two minutes later"),
    FaultKind(31, "r2_list_lags", 0.10, "a list leaves out the objects of the last minute"),
    FaultKind(31, "r2_rate_limited", 0.03, "R2 answers 429"),
    FaultKind(31, "r2_hangs", 0.01, "R2 never answers; it may have done what was asked"),
    FaultKind(32, "model_brown_out", 0.01, "a share of the calls fails with 503 for minutes"),
    FaultKind(32, "model_poisoned", 0.03, "a text is answered with 500, each time"),
    FaultKind(33, "d1_answers_late", 0.01, "D1 does what it was asked at once, and answers up to 25 s later"),
    FaultKind(34, "output_unfit", 0.20, "an output that is JSON, and that its schema does not allow"),
    FaultKind(34, "output_disguised", 0.25, "a valid output in a code fence, in prose, behind thoughts, with commas"),
    FaultKind(34, "output_no_json", 0.12, "an output that is no JSON, or only half of it"),
    FaultKind(
        34, "output_cut", 0.10, "an output that ends at the limit of tokens or by a filter, perhaps as valid JSON"
    ),
    FaultKind(34, "call_refused", 0.04, "the model refuses what a call says, with 400"),
    FaultKind(
        36, "cpu_limit", 1.0, "an isolate dies within a slice, without an await, at the same slice of each invocation"
    ),
    FaultKind(37, "d1_stands_still", 0.006, "D1 answers no request for 30 to 90 s"),
    FaultKind(38, "receivers_hang", 1.0, "all webhook receivers of one tenant hang, and get deliveries by the hundred"),
    FaultKind(39, "r2_finds_nothing", 0.04, "R2 says for up to a minute that no object is there"),
)
KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _ALL}
RATE_LIMITER = frozenset(kind.name for kind in _ALL if kind.number == 19)
DEAD_TRIGGERS = tuple(kind.name for kind in _ALL if kind.number == 24)
# A review of the project found the faults with the numbers 20 to 22. A run draws the rates of the faults that the
# review found from a separate random stream.
FOUND_BY_REVIEW = frozenset(kind.name for kind in _ALL if kind.number in {20, 21, 22})
STORAGE = "d1_full"
# The rate of `model_away` is drawn from a separate random stream.
MODEL_AWAY = "model_away"
# The rates of brown-outs and of poisoned texts are drawn from separate random streams.
BROWN_OUT = "model_brown_out"
POISONED = "model_poisoned"
# The model misforms outputs only in schedules that have tasks with schemas or gaps. The rates of these faults are drawn
# from a separate random stream.
MISFORMED = tuple(kind.name for kind in _ALL if kind.number == 34)
# Faults of R2 can strike only in runs with a bucket. The rates of R2's faults come from a separate random stream.
R2 = tuple(kind.name for kind in _ALL if kind.number in {31, 39})
# The rate of `d1_answers_late` is drawn from a separate random stream.
LATE_ANSWER = "d1_answers_late"
# The rate of `d1_stands_still` is drawn from a separate random stream.
STANDING = "d1_stands_still"
# A stream can be cut only in the few runs in which clients follow tasks. In runs with such clients the fault
# `stream_cut` always has its usual rate.
STREAM_CUT = "stream_cut"
# Cloudflare's runtime always behaves as the faults in `HOSTED` say, so these faults do not stop when other faults stop,
# and they do not disturb sound code. The draws of the faults in `HOSTED` come from a separate random stream.
HOSTED = frozenset(kind.name for kind in _ALL if kind.number in {28, 29, 30})
# A limit of CPU time is one of the platform's rules, so it does not stop when other faults stop. It can strike only in
# runs with files, and its rate is drawn from a separate random stream.
CPU_LIMIT = "cpu_limit"
# All receivers of a tenant hang only in the few runs that are made for it.
RECEIVERS_HANG = "receivers_hang"
# Faults of receivers can strike only in runs in which a tenant has a webhook endpoint.
RECEIVER = tuple(kind.name for kind in _ALL if kind.number == 27)

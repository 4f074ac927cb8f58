"""Lists the faults that disturb workers, those that disturb the model, and those that disturb neither.

The checks excuse some promises of the Worker after faults that disturb workers or the model.
"""

from simulator.engine.fault_kinds import BROWN_OUT, CPU_LIMIT, KINDS, MISFORMED, MODEL_AWAY, POISONED

# The faults in the set `CRASHES` disturb workers. After a fault that disturbs workers, a call may end in doubt, and a
# task may fail without a failure of the model.
CRASHES = frozenset(
    {
        "crash_before_enqueue",
        "crash_before",
        "crash_after",
        "cpu_exceeded",
        CPU_LIMIT,
        "cancelled",
        "wait_until_cut",
        "retries_exhausted",
        "consumer_exception",
        "object_evicted",
        "write_lost_at_eviction",
        "object_zombie",
        "worker_frozen",
        "rpc_failed_before",
        "rpc_failed_after",
        "upgraded",
        "clock_jumped",
        "d1_failed_before_commit",
        "d1_failed_after_commit",
        "d1_overloaded",
        "d1_slow",
        "d1_lands_later",
        "d1_never_answers",
        "d1_answers_late",
        "d1_shared",
        "d1_stands_still",
        "d1_full",
        "queue_dead",
        "alarm_dead",
        "rpc_dead",
    }
)
# After the faults of the model in `DOUBTFUL` it is unknown whether the model counted the call.
DOUBTFUL = frozenset({"model_reply_lost", "model_unreachable", "model_hang", "model_slow"})
MODEL = DOUBTFUL | {"model_rate_limited", "model_unavailable", "model_malformed", BROWN_OUT, POISONED, *MISFORMED}
# The faults in `HARMLESS` disturb neither workers nor the model.
HARMLESS = frozenset(KINDS) - CRASHES - MODEL - {MODEL_AWAY, "user_raced"}
# After the faults in `LATE_TO_HEAR` a model's answer may arrive too late and count as no answer.
LATE_TO_HEAR = frozenset(
    {"worker_frozen", "object_zombie", "clock_jumped", "rpc_failed_before", "rpc_failed_after", "rpc_dead"}
)

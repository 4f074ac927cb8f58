"""Ablations of the safeguards that keep a task going, or that fail a task which no host can run."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import long_trouble, some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import Change
from simulator.platform.choices import DIRECT, FREE, TOP
from src import composition
from src.kernel.run import ledger
from src.kernel.store import claiming, tasks
from src.kernel.store.fragments import FREE_AT, NOW
from src.kernel.work import dispatch, worker
from src.kernel.work.sweep import sweep
from src.objects import ai_processor
from src.queue import consumer

ABLATIONS = (
    Ablation(
        "sweep",
        "the cron trigger brings back what nobody else will",
        ((sweep.Sweep, "run", without.sweep_nothing),),
        {"message_lost": 0.3, "crash_before_enqueue": 0.2},
        some_tasks(TOP),
    ),
    Ablation(
        "send_fall_through",
        "a task that the queue refuses goes to the next route",
        ((dispatch.Dispatcher, "dispatch", without.dispatch_to_first),),
        {},
        some_tasks(TOP, queue_fate="send_failed"),
    ),
    Ablation(
        "dead_letter_guard",
        "a dead letter does not fail a task that somebody works on",
        (without.swapped("DEAD_LETTER", f"{FREE_AT} <= {NOW}", "1"),),
        {"retries_exhausted": 0.7, "d1_slow": 0.2},
        some_tasks(TOP),
    ),
    Ablation(
        "dead_letter_consumer",
        "a task whose messages no consumer survives is failed, not tried for ever",
        ((composition, "bury", without.bury_nothing),),
        {},
        some_tasks(TOP, changes=(Change(0.1, TOP),)),
        ((composition, "consume", without.consume_nothing),),
    ),
    Ablation(
        "sweep_gives_up",
        "a task whose workers die before they can fail it is failed by the sweep, not tried for ever",
        ((tasks.TaskStore, "give_up", without.give_up_nothing),),
        {},
        some_tasks(TOP, queue_fate="retries_exhausted"),
    ),
    Ablation(
        "alarm_rearm",
        "an object that gives its task back comes back for it",
        ((ai_processor, "_delay_seconds", without.never_again),),
        {},
        some_tasks(FREE, cron=False),
    ),
    Ablation(
        "continuation",
        "a consumer that gives its task back sends it on",
        ((consumer, "_consume", without.consume_without_continuation),),
        {},
        some_tasks(TOP, cron=False),
    ),
    Ablation(
        "stalls_bound",
        "a task that kills its worker each time is given up",
        ((claiming, "claim", without.claim_however_stalled),),
        {"crash_before": 0.25, "crash_after": 0.25},
        some_tasks(FREE, DIRECT),
    ),
    Ablation(
        "stalls_rest",
        "a task whose workers die rests, longer and longer, before it counts as one that kills them",
        ((worker, "rests", without.rests_of_no_time),),
        {"crash_before": 0.25, "crash_after": 0.25},
        long_trouble,
    ),
    Ablation(
        "stalls_narrow",
        "the last worker that a task may kill has a single call in flight",
        ((ledger.Ledger, "narrowed", without.as_wide_as_ever),),
        {"crash_before": 0.25, "crash_after": 0.25},
        long_trouble,
    ),
)

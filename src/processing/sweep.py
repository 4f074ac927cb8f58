"""The backstop, run by the cron trigger: what no message, alarm or worker will bring back, this does."""

from collections import Counter

from ..core import limits
from ..core.ids import split_key
from ..core.settings import Settings
from ..store.claims import Due
from ..store.tasks import TaskStore
from .bounds import OVERDUE
from .dispatch import Dispatcher
from .events import Log
from .outcomes import crashed


async def sweep(store: TaskStore, dispatcher: Dispatcher, settings: Settings, log: Log, due: Due) -> None:
    """Look once at tasks that `TaskStore.due` found.

    Dispatches tasks that nobody was told about or whose lease ran out, fails those whose deadline has passed, and
    erases those past their retention. Only so many tasks of a tenant go to the queue, in front of everybody's next.
    Erasing comes last, so that its failure costs nobody a dispatch. What is left over is still due at the next run.
    Raises StoreError.
    """
    expired = await store.expire(due.overdue, OVERDUE, settings.retention_ms) if due.overdue else []
    # A worker that finds too many stalls fails the task itself; here are those whose workers die before they can.
    hopeless = [task_id for task_id, stalls in due.stalls.items() if stalls >= settings.max_attempts]
    if hopeless:
        ended = await store.give_up(
            hopeless, settings.max_attempts, crashed(settings.max_attempts), settings.retention_ms
        )
        log("gave_up", tasks=len(ended))
    ids = await store.settle_due(due, settings.lease_ms) if due.live or due.idle else []
    taken: Counter[str] = Counter()
    for task_id in ids:
        tenant, _ = split_key(task_id)
        taken[tenant] += 1
        await dispatcher.dispatch(task_id, crowded=taken[tenant] > limits.SWEEP_QUEUE_SHARE)
    erased = await store.erase_expired(due) if due.over else 0
    log("swept", dispatched=len(ids), erased=erased, expired=len(expired), live=len(due.live))

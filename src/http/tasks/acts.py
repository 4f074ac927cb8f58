"""What both APIs do for a client: accept a submission, read a task as it is now, and end or erase it."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from ...core import limits
from ...core.errors import StoreError
from ...core.ids import TaskKey
from ...core.marks import Pulse
from ...core.task import Task
from ...core.text.chunks import TooManyChunks
from ...processing.submission import BudgetTooSmall, Submitted, TaskRequest, TooMuchRepeated
from ...processing.terms import OVERDUE
from ...store.admission import Mismatched, Refused
from ...store.tasks import TaskStore
from ..base.bodies import read_object
from ..base.exchange import Exchange
from ..base.problems import DATABASE_UNAVAILABLE, Refusal, field_refusal, no_task, overload_refusal
from ..base.services import Api
from ..follow.listening import Listener
from ..follow.polling import poll_seconds, reads_left, sparing_seconds
from .conditions import budget_too_small, limit_reached, mismatch, too_many_chunks, too_much_repeated
from .waiting_for import retry_after_seconds, waiting_for

if TYPE_CHECKING:
    from ...store.joining import Joining

_STILL_STARTING = (
    "The task is cancelled. The database is slow, and calls that were announced before may still start for a while: "
    "cancel the task again after that, and the answer says that none will."
)

_NO_TIME_SECONDS = 0.001  # a rest of a wait this short counts as over


async def read_submission(exchange: Exchange) -> dict[str, object]:
    """Read the body of a submission, up to the size that its input allows."""
    most = exchange.api.settings.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES
    return await read_object(exchange.request, most)


async def accept(
    exchange: Exchange, request: TaskRequest, key: str | None, body_digest: str, joining: "Joining | None" = None
) -> Submitted:
    """Submit a checked request. Raises Refusal with the reason if it is not accepted."""
    api, load, clock = exchange.api, exchange.api.isolate.load, asyncio.get_running_loop().time
    try:
        if not load.admits(clock()):
            raise overload_refusal()
        with cut_flaws():
            outcome = await api.submission.submit(exchange.tenant, request, key, body_digest, joining)
    finally:
        load.unprobed(clock())  # a request that was refused without a call to D1 was no probe
    match outcome:
        case Submitted():
            return outcome
        case Mismatched():
            raise mismatch()
        case Refused(limit):
            raise limit_reached(limit, api)


@contextmanager
def cut_flaws() -> Iterator[None]:
    """Name the field that keeps the input from being cut as requested, or within the budget."""
    try:
        yield
    except TooManyChunks as error:
        raise field_refusal([too_many_chunks(error.most)]) from None
    except BudgetTooSmall as error:
        raise field_refusal([budget_too_small(error.minimum)]) from None
    except TooMuchRepeated as error:
        raise field_refusal([too_much_repeated(error.mostly)]) from None


def replayed(accepted: Submitted) -> dict[str, str]:
    """Say that an earlier request made the task."""
    return {"Idempotency-Replayed": "true"} if accepted.replayed else {}


async def ended_by_client(api: Api, key: TaskKey, began: float) -> tuple[bool, Task]:
    """Cancel an unfinished task, and say whether that changed it. Returns when no call of it can start any more.

    `began` is when the request came, by the loop's clock. Raises Refusal: 404, or 503 if it takes too long.
    """
    changed, starting_ms, fence = await api.store.cancel(key, api.settings.retention_ms)
    if changed:
        api.isolate.marks.ended(key)
        api.log("cancelled", task=key)
    # No new calls are announced. Announced ones may still start, and the answer promises that none will.
    held = starting_ms / 1000
    late = asyncio.get_running_loop().time() - began + held > limits.CANCEL_SECONDS_MOST
    await _let_go(api, key, 0.0 if late else held, fence)
    if late:
        again = {"Retry-After": str(ceil(held))}
        raise Refusal(DATABASE_UNAVAILABLE, _STILL_STARTING, headers=again)
    return changed, await found(api.store, key)


async def erase_task(api: Api, key: TaskKey) -> bool:
    """Erase a task that existed a moment ago. False: it does not exist any more."""
    gone, starting_ms, fence = await api.store.erase(key)
    if gone:
        api.isolate.marks.ended(key)
        api.log("erased", task=key)
        await _let_go(api, key, starting_ms / 1000, fence)
    return gone


async def _let_go(api: Api, key: TaskKey, held_seconds: float, object_fence: int | None) -> None:
    """Wait until no announced call can start any more, and notify the object that works on the task of its end."""
    told = [] if object_fence is None else [api.tell_object(key, object_fence)]
    await asyncio.gather(asyncio.sleep(held_seconds), *told)


async def found(store: TaskStore, task_key: TaskKey) -> Task:
    """Read a task. Raises Refusal (404)."""
    task = await store.task(task_key)
    if task is None:
        raise no_task()
    return task


async def current(api: Api, key: TaskKey, seconds: float = 0.0, *, reads_after: int = 0) -> Task | None:
    """Read the task when it has ended, or after `seconds`. In between it reads only the status, at a bounded rate.

    A host nearby that works on the task tells when it has ended, so reads are rare. On the free plan each read is of
    the whole task, which saves the read after the status.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = await _up_to_date(api, key)
    if task is not None and (task.late or task.unanswered):
        try:
            await api.rescue.help(task, seconds - (loop.time() - began))
        except StoreError as error:  # the task has been read, so the client sees it even without help
            api.log("help_failed", task=key, code=error.code)
        else:
            task = await _up_to_date(api, key)
    return await _ended(api, task, seconds, began, reads_after) if task is not None and seconds > 0 else task


async def _ended(api: Api, task: Task, seconds: float, began: float, reads_after: int) -> Task | None:
    """Wait until a task has ended, for `seconds` since `began`, and read it then."""
    clock, key, free = asyncio.get_running_loop().time, task.task_key, api.settings.plan == "free"
    found: Task | None = task
    listener, seen, reads, ends_at = Listener(api, key), pulse_of(task), reads_left(task, reads_after), began + seconds
    while found is not None and not found.status.terminal and (left := ends_at - clock()) > _NO_TIME_SECONDS:
        pause = sparing_seconds(left, reads) if free else poll_seconds(seconds - left)
        # The last read must not follow the read before it sooner than other reads do.
        short = left if left < pause + limits.WAIT_POLL_SECONDS else pause
        is_near_end = left < limits.WAIT_TOLD_SECONDS + limits.WAIT_POLL_SECONDS
        told = await listener.rest(seen, short, left if free or is_near_end else limits.WAIT_TOLD_SECONDS, math.inf)
        reads -= 1
        is_over = ends_at - clock() <= _NO_TIME_SECONDS
        if not (free or told or is_over) and (pulse := await api.store.going_on(key)) is not None:
            seen = pulse
            continue
        found = await _up_to_date(api, key)
        if found is None or (free and reads < 1):
            break
        seen = pulse_of(found)
    return found


def pulse_of(task: Task) -> Pulse:
    """Say how far a task had got when it was read."""
    return Pulse(task.mark, task.status, task.route)


async def _up_to_date(api: Api, key: TaskKey) -> Task | None:
    """Read the task. If its deadline has passed, fail it first."""
    task = await api.store.task(key)
    if task is None or not task.overdue or not await expired(api, [key]):
        return task
    return await api.store.task(key)


async def expired(api: Api, overdue: Sequence[TaskKey]) -> bool:
    """Fail overdue tasks.

    If the database takes no write, they are shown as they are, and the sweep fails them later.
    """
    try:
        await api.store.expire(overdue, OVERDUE, api.settings.retention_ms)
    except StoreError as error:
        api.log("expiry_failed", tasks=len(overdue), code=error.code)
        return False
    return True


def retry_after(api: Api, task: Task) -> dict[str, str]:
    """Say when to ask again for an unfinished task."""
    return {"Retry-After": str(retry_after_seconds(task, waiting_for(task, api), api.settings.concurrency))}

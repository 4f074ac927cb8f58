"""Statements and functions without a safeguard, which replace the Worker's own while the safeguard is off."""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import shake_128
from random import Random
from types import ModuleType
from typing import Any

from simulator.campaign.subject.patches import Patch
from simulator.platform.isolate import Isolate
from simulator.platform.shared_database import Sharing
from src.features.batches.store import batch_files, batches
from src.features.cost import month
from src.features.files import sql as files
from src.features.texts import store as file_texts
from src.features.webhooks import deliveries_store
from src.kernel.calls import caller
from src.kernel.calls.pace import Rests
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.run import call_groups, ledger
from src.kernel.run.context import Released
from src.kernel.store import (
    absence,
    admission,
    claiming,
    ending,
    keys,
    resend,
    seen,
    segments,
    sweep,
    tasks,
    views,
    work_statements,
)
from src.kernel.store import tallies as sums
from src.kernel.store.claims import Claim, Next, Output, Progress
from src.kernel.store.d1 import BoundStatement, Database, statement
from src.kernel.store.ending import Stopped
from src.kernel.store.fragments import IN_TIME, NOW, UNDER_CLAIM
from src.queue import messages

# --- statements ---------------------------------------------------------------------------------------------

_STATEMENT_MODULES: tuple[ModuleType, ...] = (
    *(
        absence,
        admission,
        batch_files,
        batches,
        claiming,
        deliveries_store,
        ending,
        file_texts,
        files,
        month,
        resend,
        keys,
    ),
    *(seen, sums, sweep, views, work_statements),
)


def swapped(name: str, old: str, new: str) -> Patch:
    """Return a patch that replaces a part of a statement's text; fails if the statement or the part does not exist.

    The new text of the statement must have the same parameters as the old one, because the Worker still sets all of
    them.
    """
    return swapped_parts(name, {old: new})


def swapped_parts(name: str, parts: dict[str, str]) -> Patch:
    """Return a patch that replaces several parts of a statement's text, for safeguards with the same effect."""
    modules = [module for module in _STATEMENT_MODULES if hasattr(module, name)]
    assert len(modules) == 1, f"{len(modules)} modules have a statement {name}"
    known = getattr(modules[0], name)
    text = known.text
    for old, new in parts.items():
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    made = statement(text)
    assert set(made.parameters) == set(known.parameters), f"{name} would have the parameters {made.parameters}"
    return modules[0], name, made


# In a fenced write, the check of the claim's holder refuses every write that the check of the fence refuses, and most
# of those that the check of the step refuses. A patch of `FENCED` to `UNFENCED` removes all three checks.
FENCED = f"{UNDER_CLAIM} AND step <= :step"
_UNCLAIMED = ":fence = :fence AND :holder = :holder"
UNFENCED = f"{_UNCLAIMED} AND :step = :step"
STEP_ONLY = f"{_UNCLAIMED} AND step <= :step"
FENCED_ONLY = f"{UNDER_CLAIM} AND :step = :step"
LATER_PIECE = "(fence, step, piece) >= (:fence, :step, :piece)"
SAME_PIECE = "(fence, step, piece) = (:fence, :step, :piece)"
NO_PIECE = "(0, :step, :piece) > (:fence, 0, 0)"
AND_IN_TIME = f" AND {IN_TIME}"


# --- functions ----------------------------------------------------------------------------------------------

_run_database = Database.run
_progress = ledger.Ledger.progress
_claim = tasks.TaskStore.claim
_step = tasks.TaskStore.step
_pieces = segments.pieces
_read_claim = claiming.claim
_call = caller.LocalCaller.call
_drop = call_groups.CallGroups.drop
_cancel = tasks.TaskStore.cancel
_erase = tasks.TaskStore.erase
_freeze = Isolate.freeze


async def run_by_isolates_clock(self: Any, *statements: BoundStatement, **options: Any) -> Any:
    now_ms = self._binding._port.isolate.now_ms()

    def judged(bound: BoundStatement) -> BoundStatement:
        if NOW not in bound.sql:
            return bound
        number = len(bound.values) + 1
        return BoundStatement(bound.sql.replace(NOW, f"?{number}"), (*bound.values, now_ms))

    return await _run_database(self, *map(judged, statements), **options)


def progress_without_intent(*args: Any) -> Progress:
    return replace(_progress(*args), in_flight=())


async def claim_without_intent(self: Any, task_key: TaskKey, **options: Any) -> Any:
    return await _claim(self, task_key, **(options | {"announce": 0}))


def pieces_of_one_try(outputs: Sequence[Output], _tries: Sequence[int]) -> list[list[segments.Piece]]:
    return _pieces(outputs)


class _Endless(int):
    def __ge__(self, other: object) -> bool:
        return False


def claim_however_stalled(*args: Any) -> Claim:
    claim = _read_claim(*args)
    return replace(claim, stalls=_Endless(claim.stalls))


def rests_of_no_time(_max_attempts: int) -> Rests:
    return Rests()


def as_wide_as_ever(*_args: Any) -> float:
    return math.inf


async def help_nobody(self: object, task: object, wait_seconds: float) -> None:
    """Let a poll do nothing for a late task."""


async def work_not(self: object, task_key: object, seconds: float) -> None:
    """Keep a poll from working on a task."""


async def sweep_nothing(*_args: Any) -> None:
    pass


async def look_in_vain(*_args: Any) -> bool:
    raise StoreUnavailable("away")


async def give_up_nothing(*_args: Any) -> list[str]:
    return []


async def consume_nothing(*_args: Any) -> None:
    raise MemoryError


async def bury_nothing(batch: Any, *_args: Any) -> None:
    for message in batch.messages:
        message.ack()


async def dispatch_to_first(self: Any, task_key: TaskKey, delay_seconds: float = 0, **_options: Any) -> Any:
    sender = self._senders[0]
    try:
        await sender.send(task_key, delay_seconds)
    except Exception:  # noqa: BLE001 - as in the original
        return None
    return sender.route


async def consume_without_continuation(message: Any, worker: Any, _dispatcher: Any, host: Any, *_others: Any) -> None:
    task_key = messages.read(message.body)
    if task_key is not None:
        await worker.run(task_key, host)
    message.ack()


def never(*_args: object) -> float:
    return math.inf


def never_again(outcome: Any) -> float | None:
    return 3_600.0 if isinstance(outcome, Released) else None


async def remember(self: Any) -> None:
    await self._storage.deleteAlarm()


def starts_by_announcement(self: Any, announcing_at: float, seconds: float) -> float:
    return announcing_at + seconds


async def expire_nothing(*_args: Any) -> list[str]:
    return []


async def call_whenever(self: Any, calls: Any, seconds: float, starts_by: float, **options: Any) -> Any:
    return await _call(self, calls, seconds, math.inf, **options)


async def drop_unseen(self: Any) -> list[call_groups.EndedCall]:
    await _drop(self)
    return []


async def drop_lanes(self: Any) -> list[call_groups.EndedCall]:
    return await _drop(self)


async def start_whenever(*_args: Any) -> float:
    return 600_000


async def cancel_at_once(self: Any, task_key: TaskKey, retention_ms: int) -> Stopped:
    return (await _cancel(self, task_key, retention_ms))._replace(starting_ms=0)


async def erase_at_once(self: Any, task_key: TaskKey) -> Stopped:
    return (await _erase(self, task_key))._replace(starting_ms=0)


def freeze_shortly(self: Any, seconds: float) -> None:
    _freeze(self, seconds / 300)


def freeze_a_while(self: Any, seconds: float) -> None:
    _freeze(self, seconds / 40)


def crowd(rng: Random) -> Sharing:
    return Sharing(0.02, rng.choice((120, 240)), (1.0, 5.0))


def shortest_window(_latency: float) -> float:
    return limits.START_SECONDS


def no_delay(_idle_runs: int) -> float:
    return 0.0


def long_output(call: ModelCall) -> str:
    """Return an output that depends on the call and is too long for the free space of a page, even compressed."""
    said = f"{call.model}\0{call.system}\0{call.user}".encode("utf-8", "replace")
    return f"seen {shake_128(said).hexdigest(8_000)}"


def at_once(_bucket: Any, now: float) -> float:
    return now


def calls_without_end(self: Any, sent: int) -> float:
    return math.inf


async def withdraw_nothing(*_args: Any, **_options: Any) -> None:
    pass


def incremental() -> tuple[Patch, ...]:
    """Return patches that write the number of settled calls as an increment instead of a total."""

    async def step(self: Any, claim: Claim, progress: Progress, step: Next, **options: Any) -> bool:
        told = self.__dict__.setdefault("told", {})
        before = told.get(claim.fence, claim.calls_settled)
        grown = replace(progress, calls_settled=progress.calls_settled - before)
        kept = await _step(self, claim, grown, step, **options)
        told[claim.fence] = progress.calls_settled
        return kept

    statements = [
        swapped(name, "calls_settled = :calls_settled", "calls_settled = calls_settled + :calls_settled")
        for name in ("PROGRESS", "RELEASE", "FINISH", "FAIL")
    ]
    return (*statements, (tasks.TaskStore, "step", step))

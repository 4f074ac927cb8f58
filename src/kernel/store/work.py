"""What a worker writes to D1: it claims a task, records its work under the claim, and ends the claim.

Failed model calls are parameters of statements, and entries of the log of calls. `work_statements` has the SQL.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import batched, chain

from ..calls.pace import Rests
from ..domain import limits
from ..domain.ids import TaskKey
from ..domain.task import COST_LIMIT, Failure, Route, Status, is_truncated
from . import claiming, d1, ending, latest_calls, options, segments, tallies, work_statements
from .claims import (
    NOTHING_ELSE,
    START_MS,
    Also,
    Claim,
    Continue,
    Fail,
    FailedCall,
    Finish,
    Next,
    Progress,
    Release,
    SharedCalls,
    Unclaimed,
)
from .d1 import BoundStatement, Value, as_json
from .hooks import HookedStore
from .options import AnswerCounts
from .seen import Seen, note


def written(fence: int, calls: Sequence[FailedCall]) -> Iterator[str]:
    """Return parameters of RECORD_FAILURES for the failed calls of a claim: several if answers make them too large."""
    for portion in segments.portions(calls, lambda call: as_json(_failed(call, fence)).encode()):
        yield f"[{','.join(entry.decode() for _, entry in portion)}]"


def _failed(call: FailedCall, fence: int) -> list[int | str | None]:
    tried, failure = call.tried, call.failure
    counts = (tried.attempts, tried.calls, int(call.final))
    words = (failure.code, failure.message, int(failure.retryable))
    held = None if call.held is None else as_json(call.held)
    rejected = None if call.rejection is None else options.rejection_text(call.rejection)
    kept = (_log(call, fence), rejected, call.gap_chars, call.provider_answer)
    return [*call.key, *counts, *words, tried.counted, call.rests_until, held, *kept]


def _log(call: FailedCall, fence: int) -> str | None:
    """Write the entry of a failed call for the column `failures.log`."""
    entry = call.entry
    if entry is None:
        return None
    assert entry.failure is not None
    times = (entry.started_ms, entry.ended_ms, int(entry.answered))
    message = entry.failure.message[: limits.ATTEMPT_MESSAGE_CHARS_MOST]
    return as_json([[fence, entry.number, *times, entry.failure.code, message, entry.route, entry.model]])


NO_RESTS = Rests()
_SHARED_MS = round(limits.SHARE_CALLS_SECONDS * 1000)


class WorkStore(HookedStore):
    """The writes of a worker for its task; each of them is one call to D1, unless it says otherwise."""

    async def claim(
        self,
        task_key: TaskKey,
        *,
        holder: str,
        host: str,
        route: Route,
        lease_ms: int,
        start_ms: int = START_MS,
        announce: int = 0,
        chunks: int = limits.CHUNKS_MOST,
        rests: Rests = NO_RESTS,
        stands_in: bool = False,
        seen: Seen | None = None,
        model: str = "",
        priced: Iterable[str] = (),
    ) -> Claim | Unclaimed:
        """Claim a task for a worker, or return why the claim is not granted.

        `holder` names this claim. `host` is the name of a host that may replace its own earlier instance, or ''; then
        the claim is sent again with that instance's fence. The first claim of a task announces `announce` calls, which
        must start within `start_ms`, but none to a model of `priced`. A claim returns the text of `chunks` chunks or
        more. A worker that dies before a call has finished leaves the task to its `rests`. `stands_in`: the caller
        replaces a host that did not come. The trigger `seen` is recorded too. `model` counts for tasks that name none.
        """
        seen_fence = None
        for _ in range(2):
            granted, _, source, outputs, failures, standing, *_ = await self._database.run(
                work_statements.CLAIM.bind(
                    task_key=task_key,
                    holder=holder,
                    host=host,
                    route=route,
                    lease_ms=lease_ms,
                    start_ms=start_ms,
                    early_ms=round(limits.EARLY_SECONDS_ALLOWED * 1000),
                    first_chunks=as_json(list(range(announce))),
                    seen_fence=seen_fence,
                    rests_ms=as_json(rests.between_ms),
                    least_ms=rests.least_ms,
                    stands_in=int(stands_in),
                    model=model,
                    priced=as_json(list(priced)),
                    shared_ms=_SHARED_MS,
                ),
                work_statements.CLAIM_WAKE.bind(task_key=task_key, holder=holder),
                claiming.CLAIM_TEXT.bind(
                    task_key=task_key, holder=holder, least=announce, most=chunks, chars=limits.WINDOW_CHARS_MOST
                ),
                claiming.CLAIM_OUTPUTS.bind(task_key=task_key, holder=holder),
                claiming.CLAIM_FAILURES.bind(task_key=task_key, holder=holder),
                work_statements.STANDING.bind(task_key=task_key, host=host),
                *([note(seen)] if seen is not None else []),
            )
            if granted:
                return claiming.claim(task_key, holder, granted[0], source[0], outputs, failures)
            seen_fence = claiming.predecessor(standing)
            if seen_fence is None:
                break
        return claiming.unclaimed(standing)

    async def step(
        self,
        claim: Claim,
        progress: Progress,
        then: Next,
        *,
        sends: int = limits.STORE_SENDS,
        model: str = "",
        receive: Callable[[SharedCalls], None] | None = None,
        also: Also = NOTHING_ELSE,
    ) -> bool:
        """Record a worker's progress, and continue or end its claim, in one transaction.

        Returns False if the claim is lost. The write is sent at most `sends` times, because the worker limits its own
        writes. If the claim continues, `receive` gets other isolates' latest calls to `model` for this tenant, if a
        call has failed lately. `also` has further statements for the same transaction.
        """
        shared_id, under = latest_calls_id(claim.task_key, model), _under(claim, progress)
        before = [] if progress.shared is None else [_share(claim.task_key, shared_id, progress.shared)]
        before += [*self._records(claim, progress), *also.writes(under)]
        if isinstance(then, Continue) and then.room_bytes:
            before.append(work_statements.FIND_ROOM.bind(**under, half=then.room_bytes // 2))
        batch = [*before, _next(claim, progress, then, shared_id)]
        if isinstance(then, Finish) and not then.keeps_input:
            batch.append(work_statements.EMPTY_INPUT.bind(**_claimed(claim)))
        is_end = isinstance(then, Finish | Fail)
        if not is_end and also.asks is not None:
            batch.append(also.asks)
        run = partial(self._end, [claim.task_key]) if is_end else self._database.run
        results = await run(*batch, sends=sends)
        landed = results[len(before)]
        if landed and not is_end and also.asks is not None:
            also.hears(results[-1])
        if receive is not None and landed and isinstance(then, Continue):
            shared = claiming.shared(landed[0])
            if shared is not None:
                receive(shared)
        return bool(landed)

    async def shared_calls(self, task_key: TaskKey, model: str) -> SharedCalls | None:
        """Read the latest calls to a model, for a task's tenant, that isolates share. Sent only once."""
        (found,) = await self._database.run(latest_calls.READ_SHARED.bind(id=latest_calls_id(task_key, model)), sends=1)
        return claiming.shared(found[0]) if found else None

    async def stand_down(self, claim: Claim, progress: Progress, back: Release) -> bool:
        """Release a task without recording the work since the last write. Returns False if the claim is lost.

        The number of this write is one above the number of the write that it replaces, because the replaced write may
        still arrive later.
        """
        standing = work_statements.STAND_DOWN.bind(**_claimed(claim), step=progress.step + 1, **back._asdict())
        (given_back,) = await self._database.run(standing)
        return bool(given_back)

    async def settle(self, claim: Claim, progress: Progress, overdue: Failure, retention_ms: int) -> Status | None:
        """Settle the bill of a claim whose task was cancelled or has passed its deadline, and return the task's status.

        If the deadline has passed, the task is failed with `overdue`, unless the task has already ended. Returns None
        in two cases: the claim is still valid, and its outputs and totals are recorded; or the claim was lost in
        another way, and nothing has changed.
        """
        values: dict[str, Value] = {**_claimed(claim), **_totals(claim, progress)}
        counts = progress.answer_counts
        late = {**values, **(dict.fromkeys(AnswerCounts._fields) if counts is None else counts._asdict())}
        batch = [tallies.SETTLE_LATE.bind(**{name: late[name] for name in tallies.SETTLE_LATE.parameters})]
        if claim.deadline_left_ms is not None:
            batch.append(ending.expiry([claim.task_key], overdue, retention_ms))
        batch += [*self._records(claim, progress), work_statements.SETTLE.bind(**values)]
        # A task without a deadline can have been ended only by another writer.
        run = self._database.run if claim.deadline_left_ms is None else partial(self._end, [claim.task_key])
        *_, settled = await run(*batch)
        status = Status(d1.text(settled[0], "status")) if settled else None
        return None if status is Status.PROCESSING else status

    async def may_start(self, task_key: TaskKey, fence: int) -> int | None:
        """Return for how many more ms a claim's announced calls may start, None if it is over."""
        (found,) = await self._database.run(work_statements.MAY_START.bind(task_key=task_key, fence=fence, holder=None))
        return d1.whole(found[0], "left_ms") if found else None

    async def stands(self, claim: Claim) -> bool:
        """Whether a worker's claim of a task is still valid. The read of the claim is sent to D1 only once."""
        (found,) = await self._database.run(work_statements.MAY_START.bind(**_claimed(claim)), sends=1)
        return bool(found)

    def _records(self, claim: Claim, progress: Progress) -> list[BoundStatement]:
        mine = _under(claim, progress)
        batch: list[BoundStatement] = []
        if progress.outputs:
            batch += _outputs({**mine, "step": progress.first_step or progress.step}, progress)
        if any(is_truncated(output.finish_reason) for output in progress.outputs):
            batch.append(work_statements.RECORD_CUT.bind(**mine, truncated=progress.truncated))
        batch += [
            work_statements.RECORD_MERGE.bind(**mine, level=merge.level, ends=as_json(merge.ends))
            for merge in progress.merges
        ]
        if progress.failures:
            batch += [
                work_statements.RECORD_FAILURES.bind(**mine, failures=listed, logged_most=limits.ATTEMPTS_LOGGED_MOST)
                for listed in written(claim.fence, progress.failures)
            ]
        if progress.answer_counts is not None:
            batch.append(work_statements.RECORD_ANSWER_COUNTS.bind(**mine, **progress.answer_counts._asdict()))
        return batch


def _outputs(mine: dict[str, Value], progress: Progress) -> Iterator[BoundStatement]:
    """Make the statements that record a write's outputs, each for as many pieces of one group as it can take."""
    one, several = work_statements.RECORD_OUTPUTS, work_statements.RECORD_PIECES
    full: dict[str, Value] = {"segment_bytes": limits.SEGMENT_BYTES}
    if progress.segment_chars is not None:
        one, several = work_statements.RECORD_OUTPUTS_BY_CHARS, work_statements.RECORD_PIECES_BY_CHARS
        full["segment_chars"] = progress.segment_chars
    number = 0
    groups = segments.pieces(progress.outputs, progress.tries)
    for some in chain.from_iterable(batched(group, limits.PIECES_A_STATEMENT) for group in groups):
        first, *others = some
        if not others:
            yield one.bind(**mine, **full, **first._asdict(), piece=number)
        else:
            values: dict[str, Value] = {
                f"{name}_{at}": getattr(some[at], name) if at < len(some) else None
                for at in range(limits.PIECES_A_STATEMENT)
                for name in ("places", "sizes", "body")
            }
            yield several.bind(**mine, **full, **values, level=first.level, piece=number)
        number += len(some)


def _under(claim: Claim, progress: Progress) -> dict[str, Value]:
    """Return the parameters that name a claim and the number of the claim's write."""
    return {**_claimed(claim), "step": progress.step}


def latest_calls_id(task_key: TaskKey, model: str) -> str:
    """Return the id of the row that has the latest calls of a task's tenant to a model."""
    return task_key[: task_key.find(":") + 1] + model


def _share(task_key: TaskKey, shared_id: str, shared: SharedCalls) -> BoundStatement:
    calls = as_json([[call.chunk, round(call.at), int(call.succeeded)] for call in shared.calls])
    return latest_calls.SHARE.bind(
        task_key=task_key, id=shared_id, calls=calls, failed_ms=shared.failed_ms, most=limits.LATEST_CALLS_KEPT
    )


def _claimed(claim: Claim) -> dict[str, Value]:
    """Return the parameters that name a claim and that each of the claim's writes has."""
    return {"task_key": claim.task_key, "fence": claim.fence, "holder": claim.holder}


def _totals(claim: Claim, progress: Progress) -> dict[str, Value]:
    error, wait = progress.last_error, progress.wait
    return {
        "step": progress.step,
        "wave_step": (progress.step if claim.capped else -progress.step) if progress.announces else None,
        "calls_settled": progress.calls_settled,
        "calls_in_doubt": progress.calls_in_doubt,
        "calls_minimum": progress.calls_minimum,
        "in_flight": as_json(progress.in_flight),
        "doubted": None if progress.doubted is None else as_json(progress.doubted),
        "completed": progress.completed,
        "failed": progress.failed,
        "input_tokens": progress.input_tokens,
        "output_tokens": progress.output_tokens,
        "cached_tokens": progress.cached_tokens,
        "cost": progress.money.booked,
        "cost_in_doubt": progress.money.in_doubt,
        "cost_out": progress.money.out,
        "stalls": progress.stalls,
        "rate_waits": progress.rate_waits,
        "idle_runs": progress.idle_runs,
        "finished": int(progress.finished),
        "away_since": progress.away_since,
        "away_waits": progress.away_waits,
        "last_error": None if error is None else as_json(error._asdict()),
        "wait_reason": None if wait is None or wait.reason == COST_LIMIT else wait.reason,
        "waits_for": COST_LIMIT if wait is not None and wait.reason == COST_LIMIT else None,
        "wait_until": None if wait is None else wait.until,
        "asked_until": progress.asked_until,
        "pace_ms": progress.pace_ms,
        "truncated": progress.truncated,
    }


def _next(claim: Claim, progress: Progress, then: Next, shared_id: str) -> BoundStatement:
    values: dict[str, Value] = {**_claimed(claim), **_totals(claim, progress)}
    match then:
        case Continue(lease_ms, start_ms):
            return work_statements.PROGRESS.bind(
                **values, lease_ms=lease_ms, start_ms=start_ms, shared_id=shared_id, shared_ms=_SHARED_MS
            )
        case Release():
            return work_statements.RELEASE.bind(**values, **then._asdict())
        case Finish(retention_ms, top_level):
            return work_statements.FINISH.bind(
                **values,
                retention_ms=retention_ms,
                top_level=top_level,
                keeps_first_line=int(then.keeps_input or then.keep_name),
                may_lack=int(then.gaps),
                may_be_empty=int(then.may_be_empty),
            )
        case Fail(retention_ms, failure):
            return work_statements.FAIL.bind(
                **values,
                retention_ms=retention_ms,
                code=failure.code,
                message=failure.message,
                retryable=int(failure.retryable),
            )

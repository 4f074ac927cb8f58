"""Holds the inputs of a batch: the check of its lines, the lines, and its growing file."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from functools import partial

from ....kernel.calls import clock
from ....kernel.calls.pace import idle_seconds
from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, BlobUnavailable, MemoryShort, StoreFull, StoreUnavailable
from ....kernel.domain.ids import TaskKey
from ....kernel.domain.task import Failure, Route
from ....kernel.run.call_plan import CallPlan
from ....kernel.run.context import ClaimLost, RunContext
from ....kernel.run.invocation import Invocation
from ....kernel.run.kinds import Record, TaskKind
from ....kernel.run.ledger import Ledger
from ....kernel.run.write_pacer import WritePacer
from ....kernel.store.claims import Also, Ending, Fail, Output, Release
from ...files.store import file_store
from ..lines.lines import LineRules, rules_of
from ..store.batch_files import BatchFileStore
from ..store.batches import BatchWork
from .growth import Growth, StoredLines
from .line_inputs import LineInputs, LineReading
from .validation import LOST, Unfinished, Valid, Validation

# What of the allowance a portion of the validation and an object of the output take, in calls to the model.
_SLICE_CALLS = 2
_OBJECT_CALLS = 7


class BatchInputs(LineInputs):
    """The inputs of a batch: the check of its lines, the lines, and its growing file."""

    def __init__(self, context: RunContext, _: CallPlan, pacer: WritePacer, ledger: Ledger) -> None:
        files, reading = file_store(context.invocation), LineReading(context, pacer, ledger)
        memory = context.invocation.isolate.memory
        super().__init__(context.claim, context.settings, context.model, files, reading, memory)
        self._context = context
        self._pacer = pacer
        self._ledger = ledger
        self._growth = Growth(context.claim, context.store.beside(BatchFileStore), files)

    async def prepare(self, record: Record) -> Ending | RunContext | None:
        """Check the lines of a batch whose lines are not counted yet. Raises StoreError and ClaimLost."""
        return None if self._claim.total else await self._check(record)

    async def _check(self, record: Record) -> Ending | RunContext:
        """Check the lines. Returns how the claim ends, or the context with which a new run continues."""
        context = self._context
        try:
            outcome = await self._validate(partial(self._record, record))
        except BlobMissing:
            return Fail(context.settings.retention_ms, LOST)
        except (BlobUnavailable, MemoryShort) as error:
            seconds = idle_seconds(self._ledger.idle_runs)
            self._ledger.idled()
            context.log("lines_unread", error=error.code, delay_seconds=seconds)
            return self._back(seconds)
        if isinstance(outcome, Failure):
            return Fail(context.settings.retention_ms, outcome)
        if isinstance(outcome, Unfinished):
            return self._back(0)
        # Until its lines are counted, a run has no lanes and follows only the deployment's own model, so a long batch,
        # or a batch of another model, is left to the next run. On all routes except the direct route, the next run
        # comes at once.
        long = outcome.total >= limits.LANES_FROM_CHUNKS and context.route is not Route.DIRECT
        if long or outcome.model != context.model:
            return self._back(0)
        options = replace(self._claim.options, model=outcome.model)
        total, step = outcome.total, self._ledger.last_step
        claim = replace(self._claim, total=total, options=options, step=step, stalls=0, idle_runs=0)
        return replace(context, claim=claim)

    async def _record(self, record: Record, also: Also, minimum_calls: int | None = None) -> None:
        await record(also, minimum_calls)
        self._pacer.refund()

    def _back(self, seconds: float) -> Release:
        """Give the task back. On the direct route no host continues the task, so the sweep continues it."""
        delay_ms = round(seconds * 1000)
        lease_ms = 0 if self._context.route is Route.DIRECT else self._context.settings.lease_ms
        return Release(delay_ms, delay_ms + lease_ms)

    def _rules(self, work: BatchWork) -> LineRules:
        settings = self._context.settings
        rules = rules_of(settings, work.endpoint, self._context.default_model, work.model)
        if self._claim.options.max_cost is None and not self._claim.capped:
            return rules
        from ...cost.gate import lacks_price  # noqa: PLC0415 - few batches have a cap

        return rules._replace(lacks_price=partial(lacks_price, settings))

    async def _validate(self, record: Record) -> Valid | Failure | Unfinished:
        found = await self._reading.checked()
        if found is None:
            raise ClaimLost
        (work, digests), context = found, self._context
        validation = Validation(
            self._claim.task_key,
            work,
            digests,
            self._rules(work),
            files=self._files,
            record=record,
            may_go_on=lambda: self._affords(_SLICE_CALLS, 0),
            portions_most=limits.BATCH_PORTIONS_A_RUN[context.settings.plan],
            memory=context.invocation.isolate.memory,
        )
        outcome = await validation.run()
        context.log("batch_read", outcome=type(outcome).__name__.lower(), **validation.facts())
        return outcome

    def also(self, outputs: Sequence[Output]) -> Also:
        """Return the question that a step with these outputs must also ask the database."""
        return self._growth.asking(outputs)

    def recorded(self, outputs: Sequence[Output]) -> None:
        """Note that a step with these outputs was written."""
        self._growth.recorded(outputs)
        self._reading.recorded()
        self.saved()

    def beside(self, groups_out: int, record: Record) -> Coroutine[None, None, None] | None:
        """Return what makes an object of recorded lines in the bucket, if they may suffice for one."""
        return self._grow(groups_out, record) if self._growth.is_due else None

    async def _grow(self, groups_out: int, record: Record) -> None:
        """Make an object in the bucket from recorded lines, if there are enough lines for one object.

        Raises StoreError and ClaimLost. Calls may be in flight, and these calls are paid for. A failure to store the
        object therefore never ends the run, and the run writes again in time to keep its claim.
        """
        seconds = min(self._pacer.renews_by - clock.now(), limits.BLOB_SECONDS)
        if seconds <= 0 or not self._affords(_OBJECT_CALLS, groups_out):
            return
        try:
            stored = await self._stored(seconds)
            if stored is not None:
                await self._growth.name(stored, self.output_file().key, partial(self._record, record))
        # the lines stay in the database, and the end of the batch also moves them to the bucket
        except (BlobUnavailable, StoreFull, MemoryShort) as error:
            self._growth.postpone()
            self._context.log("batch_not_grown", error=error.code)
        else:
            self._context.log("batch_grown", segments=0 if stored is None else len(stored.segments))

    async def _stored(self, seconds: float) -> StoredLines | None:
        """Store an object of recorded lines within `seconds`. Raises `BlobUnavailable`, MemoryShort, ClaimLost."""
        share = self._context.invocation.isolate.memory.take(
            "run", self._files.bucket.part_bytes + limits.MEMORY_WRITER_BYTES
        )
        if share is None:
            raise MemoryShort("the isolate's memory is in use")
        try:
            async with asyncio.timeout(seconds):
                return await self._growth.store(self.output_file)
        except TimeoutError:
            raise BlobUnavailable("an object of lines could not be stored in time") from None
        except StoreUnavailable as error:
            raise BlobUnavailable("the lines of an object could not be read") from error
        finally:
            share.close()

    def _affords(self, calls: int, groups_out: int) -> bool:
        group_size = self._context.caller.group_size
        return (
            self._context.allowance.affordable_calls(clock.now(), calls * group_size, groups_out, group_size) >= calls
        )


def _complete(invocation: Invocation, task_key: TaskKey) -> Awaitable[bool]:
    from .writer import BatchWriter  # noqa: PLC0415 - only the run that ends a batch needs it

    return BatchWriter(invocation).run(task_key)


def batch_kind() -> TaskKind:
    """Return the kind whose chunks are the lines of a batch."""
    return TaskKind(
        BatchInputs,
        after_end=_complete,
        always_gaps=True,
        may_be_empty=True,
        awaits_calls=True,
        reads_files=True,
        segment_chars=limits.SEGMENT_CHARS_OF_BATCH,
    )

"""Gives a run of a batch what only batches need: the check of its lines, their inputs, and its growing file."""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Protocol

from ...core import limits
from ...core.batches.line_index import Slice
from ...core.batches.lines import rules_of
from ...core.errors import BlobUnavailable, StoreFull
from ...core.task import Failure
from ...store.batch_files import BatchFileStore
from ...store.batches import BatchStore
from ...store.records.batches import BatchWork
from ...store.records.claims import Output
from ...store.work import Also
from .. import clock
from ..batches.growth import Growth
from ..batches.line_inputs import LineInputs
from ..batches.validation import Unfinished, Valid, Validation
from ..outcomes import ClaimLost
from .context import RunContext
from .write_pacer import WritePacer

# What a slice of the validation, and an object of the output file, take of the allowance, in calls to the model.
_SLICE_CALLS = 2
_OBJECT_CALLS = 7


class Record(Protocol):
    """Writes a step of the claim with further statements, and with `minimum_calls` if it is given."""

    def __call__(self, also: Also, minimum_calls: int | None = None) -> Awaitable[None]:
        """Raises ClaimLost."""
        ...


class BatchParts:
    """What a run needs for a batch. `inputs` take the place of `CallInputs`."""

    def __init__(self, context: RunContext, pacer: WritePacer, record: Record) -> None:
        self._context = context
        self._claim = context.claim
        self._pacer = pacer
        self._record = record
        self._rows = context.store.beside(BatchStore)
        self._files = context.open_files()
        self._failures = 0  # How often in a row the lines could not be read.
        read_work = partial(pacer.with_retries, self._work, writes=False)
        self.inputs = LineInputs(context.claim, context.settings, context.model, self._files, read_work)
        self._growth = Growth(
            context.claim,
            store=context.store.beside(BatchFileStore),
            bucket=self._files.bucket,
            output_file=self.inputs.output_file,
            record=record,
        )

    async def validate(self) -> Valid | Failure | None:
        """Check the lines of the batch. Returns None if the next run must go on.

        Raises `BlobUnavailable`, StoreError and ClaimLost.
        """
        found = await self._pacer.with_retries(self._work, writes=False)
        if found is None:
            raise ClaimLost
        (work, slices), context = found, self._context
        validation = Validation(
            self._claim.task_key,
            work,
            slices,
            rules_of(context.settings, work.endpoint, context.default_model, work.model),
            files=self._files,
            record=self._record,
            may_go_on=lambda: self._affords(_SLICE_CALLS, 0),
            slices_most=limits.BATCH_SLICES_A_RUN[context.settings.plan],
        )
        outcome = await validation.run()
        context.log("batch_read", outcome=type(outcome).__name__.lower(), **validation.facts())
        return None if isinstance(outcome, Unfinished) else outcome

    def asking(self, outputs: Sequence[Output]) -> Also:
        """Return what a step with these outputs must ask."""
        return self._growth.asking(outputs)

    def recorded(self, outputs: Sequence[Output]) -> None:
        """Note that a step with these outputs has landed."""
        self._growth.recorded(outputs)
        self._failures = 0

    async def grow(self, groups_out: int) -> None:
        """Make an object of recorded lines if they suffice for one. Raises StoreError and ClaimLost."""
        if not self._growth.is_due or not self._affords(_OBJECT_CALLS, groups_out):
            return
        try:
            moved = await self._growth.run()
        except (BlobUnavailable, StoreFull) as error:  # the lines stay in the database, and the end moves them too
            self._growth.postpone()
            self._context.log("batch_not_grown", error=error.code)
        else:
            self._context.log("batch_grown", segments=moved)

    def pause_seconds(self) -> float:
        """Return for how long no call starts because the lines could not be read: longer each time in a row."""
        self._failures += 1
        pause = limits.BATCH_READ_PAUSE_SECONDS * 2.0 ** (self._failures - 1)
        return min(pause, 2 * limits.INLINE_WAIT_SECONDS_MOST)

    async def _work(self) -> tuple[BatchWork, list[Slice]] | None:
        return await self._rows.work(self._claim.task_key)

    def _affords(self, calls: int, groups_out: int) -> bool:
        group_size = self._context.caller.group_size
        return (
            self._context.allowance.affordable_calls(clock.now(), calls * group_size, groups_out, group_size) >= calls
        )

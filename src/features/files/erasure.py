"""The sweep's duty to erase files, and stored parts that no database row names."""

from collections.abc import Sequence

from ...kernel.domain import limits
from ...kernel.domain.errors import BlobUnavailable, StoreError
from ...kernel.domain.settings import Settings
from ...kernel.run.invocation import Invocation
from ...kernel.store.d1 import BoundStatement, Row
from ...kernel.work.sweep.duty import Duty, DutyCost, SweepAllowance
from .sql import FILE_WORK

# Calls to D1 besides the erasure of parts: to find the files, to mark them and to remove their rows.
_ERASURE = DutyCost(3, 7)
_FILE = DutyCost(2, 1)  # The calls that erase the parts of one file, in R2 or in D1.
# What a search for orphans takes at most in R2 and in D1: to take the permit, read a page of parts, look up their rows,
# erase orphans, and record how far it came.
_SEARCH = DutyCost(10, 8)


class FileErasure(Duty):
    """Erases files that are due, and orphans, once in a sweep. A failure is logged, and a later sweep goes on."""

    cost = DutyCost(*map(sum, zip(_ERASURE, _FILE, strict=True)))
    alone = True

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._is_wanted = False  # Whether the sweep has found work with files.

    def look(self) -> BoundStatement:
        """Make the statement that finds out whether there is work with files."""
        return file_work(self._invocation.settings)

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Learn whether there is work with files."""
        self._is_wanted = bool(rows[0]["wanted"])

    @property
    def frees_space(self) -> bool:
        """Whether the erasure will probably free space in the database."""
        return self._is_wanted and self._invocation.bucket() is None

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Erase files and orphans, as far as the allowance permits."""
        if not self._is_wanted:
            return False
        from .store import file_store  # noqa: PLC0415 - only a sweep that has found files needs it

        erased = orphans = 0
        try:
            files = file_store(self._invocation)
            work = await files.work(self._most(allowance))
            erased = await files.erase(work)
            if work.shelves and allowance.affords(_SEARCH):
                orphans = await files.erase_orphans(limits.ORPHANS_A_PAGE[self._invocation.settings.plan])
        except (StoreError, BlobUnavailable) as error:
            self._invocation.log.failure("file_erasure_failed", error)
        if erased or orphans:
            self._invocation.log("files_erased", files=erased, orphans=orphans)
        return False

    def _most(self, allowance: SweepAllowance) -> int:
        """Return for how many files the rest of the allowance suffices."""
        return min(
            limits.FILES_A_SWEEP[self._invocation.settings.plan],
            (allowance.subrequests_left() - _ERASURE.subrequests) // _FILE.subrequests,
            (allowance.statements_left() - _ERASURE.statements) // _FILE.statements,
        )


def file_work(settings: Settings) -> BoundStatement:
    """Make the statement that finds work with files, and batches that no writer or late call holds."""
    return FILE_WORK.bind(
        apart_ms=limits.ORPHANS_APART_SECONDS * 1000,
        most=limits.BATCHES_WRITTEN_A_SWEEP[settings.plan],
        claim_ms=settings.longest_claim_ms,
    )

"""The sweep's duty to erase files, and stored parts that no database row names."""

from ...core import limits
from ...core.errors import BlobUnavailable, StoreError
from ..worker import Worker
from .sweep_allowance import StepCost, SweepAllowance

# The calls to D1 that the erasure of files takes in addition to the erasure of their parts: to find the files, to mark
# them and to remove their rows.
_ERASURE = StepCost(3, 7)
_FILE = StepCost(2, 1)  # The calls that erase the parts of one file, in R2 or in D1.
# The most that a search for orphans takes in R2 and in D1: to take the turn, to read a page of parts, to look up their
# rows, to erase orphans, and to record how far the search came.
_SEARCH = StepCost(10, 8)


class FileErasure:
    """Erases forgotten, expired and deleted files, and orphans; this is done once in a sweep that has found such work.

    If the database or the bucket fails, the failure is logged, and a later sweep erases the rest.
    """

    def __init__(self, worker: Worker, allowance: SweepAllowance) -> None:
        self._worker = worker
        self._allowance = allowance
        self.is_wanted = False  # Whether a page of the sweep has found work with files.

    @property
    def frees_space(self) -> bool:
        """Whether the erasure will probably free space in the database."""
        return self.is_wanted and self._worker.files.bucket.place == "d1"

    async def run(self) -> None:
        """Erase files and orphans, as far as the allowance permits."""
        if not self.is_wanted or not self._most():
            return
        self.is_wanted = False
        erased = orphans = 0
        try:
            files = self._worker.files
            work = await files.work(self._most())
            erased = await files.erase(work)
            if work.places and self._allowance.affords(_SEARCH):
                orphans = await files.erase_orphans(limits.ORPHANS_A_PAGE[self._worker.settings.plan])
        except (StoreError, BlobUnavailable) as error:
            self._worker.log.failure("file_erasure_failed", error)
        if erased or orphans:
            self._worker.log("files_erased", files=erased, orphans=orphans)

    def _most(self) -> int:
        """Return for how many files the rest of the allowance suffices."""
        return max(
            0,
            min(
                limits.FILES_A_SWEEP[self._worker.settings.plan],
                (self._allowance.subrequests_left() - _ERASURE.subrequests) // _FILE.subrequests,
                (self._allowance.statements_left() - _ERASURE.statements) // _FILE.statements,
            ),
        )

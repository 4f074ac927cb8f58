"""The chunks of one claim's task that failed for good without ending it, and what they leave of its text. Pure.

A chunk's own failure leaves a gap. A failure that may be the service's is stored in the same way. Both are gaps as soon
as the task has an output: see docs/decisions/0048.
"""

from ...core.codes import TaskCode
from ...core.structure import commonest, coverage
from ...core.task import Failure
from ...store.records.claims import CallKey, Claim, FailedCall

CODES = frozenset({TaskCode.TOO_MANY_GAPS})


class Gaps:
    """The gaps of a task, those of earlier claims included. A plain task has none."""

    def __init__(self, claim: Claim) -> None:
        structure = claim.options.structure
        self._allowed = structure is not None and structure.gaps
        self._share_most = 0.0 if structure is None else structure.max_gap_share
        self._total = claim.total
        self._characters = claim.characters
        self._chars = dict(claim.chunk_chars)
        self._found = dict(claim.gaps)
        self._gap_chars = sum(failed.gap_chars or 0 for failed in claim.gaps.values())

    def __contains__(self, key: CallKey) -> bool:
        return key in self._found

    def __len__(self) -> int:
        return len(self._found)

    def measured(self, key: CallKey, chars: int | None) -> None:
        """Take in how many characters a chunk has whose call has ended, if it may leave a gap."""
        if self._allowed and chars is not None:
            self._chars[key] = chars

    def chars(self, key: CallKey) -> int | None:
        """Return the characters of a chunk that may leave a gap. None for any other call."""
        return self._chars.get(key) if self._allowed and key.level == 0 else None

    def add(self, failed: FailedCall) -> None:
        """Take in a chunk that failed for good."""
        assert failed.gap_chars is not None
        self._found[failed.key] = failed
        self._gap_chars += failed.gap_chars

    @property
    def coverage(self) -> float | None:
        """The share of the characters that the gaps leave; None: there is no gap."""
        return coverage(self._gap_chars, self._characters) if self._found else None

    @property
    def too_many(self) -> bool:
        """Whether the task can no longer complete."""
        return self._gap_chars > self._share_most * self._characters

    def failure(self, completed: int) -> Failure | None:
        """Say why the task fails that has outputs of so many chunks. None: it goes on, or completes with its gaps.

        Without any output it fails for the commonest cause.
        """
        if not self._found or not (self.too_many or (not completed and len(self._found) == self._total)):
            return None
        failures = [failed.failure for _, failed in sorted(self._found.items())]
        code = commonest(failure.code for failure in failures)
        cause = next(failure for failure in failures if failure.code == code)
        if not completed:
            return cause
        share = f"{len(failures)} of {self._total} chunks failed for good, more than maxGapShare of the characters"
        return Failure(TaskCode.TOO_MANY_GAPS, f"{share}; most with {code}: {cause.message}", True)

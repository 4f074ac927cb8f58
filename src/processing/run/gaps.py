"""Keeps a task's gaps: chunks that failed for good without ending the task. Pure.

A chunk that fails through its own fault leaves a gap. A chunk that fails through what may be a fault of the service is
stored in the same way. It is a gap if the task has at least one output: see docs/decisions/state.md#d0048.
"""

import json

from ...core.codes import TaskCode
from ...core.errors import ModelError, ModelRefused
from ...core.structure import commonest, coverage
from ...core.task import Failure
from ...store.records.claims import CallKey, Claim, FailedCall

CODES = frozenset({TaskCode.TOO_MANY_GAPS})


class Gaps:
    """The gaps of a task, under this claim and under earlier claims.

    A task without the option `onChunkFailure: gap` has no gaps, unless chunks that fail for good `always` are gaps.
    Then only those that failed under this claim are kept here, and they never make the task fail, however many they
    are.
    """

    def __init__(self, claim: Claim, *, always: bool) -> None:
        structure = claim.options.structure
        self._always = always
        self._allowed = always or (structure is not None and structure.gaps)
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
        """Note the number of characters of a chunk when one of its calls has ended, if the chunk may leave a gap."""
        if self._allowed and chars is not None:
            self._chars[key] = chars

    def chars(self, key: CallKey) -> int | None:
        """Return the number of characters of a chunk that may leave a gap. The result is None for any other call."""
        if self._always:
            return 0  # the chunk is counted, and its length does not matter
        return self._chars.get(key) if self._allowed and key.level == 0 else None

    def add(self, failed: FailedCall) -> None:
        """Add to the gaps a chunk that failed for good."""
        assert failed.gap_chars is not None
        # The provider's answer is recorded together with the failure, and would otherwise take memory until the end of
        # the run.
        self._found[failed.key] = failed._replace(refusal=None)
        self._gap_chars += failed.gap_chars

    @property
    def coverage(self) -> float | None:
        """The share of the text's characters that is not in gaps; None if the task has no gap."""
        return coverage(self._gap_chars, self._characters) if self._found and not self._always else None

    @property
    def too_many(self) -> bool:
        """Whether the gaps have more characters than the task's `maxGapShare` allows, so that the task must fail."""
        # As floats, 0.29 × 100 is less than 29, so the product is rounded.
        return not self._always and self._gap_chars > round(self._share_most * self._characters, 6)

    def failure(self) -> Failure | None:
        """Return the failure that the gaps cause for the task; None if the task does not fail.

        Too many gaps have a code of their own, whether or not an output existed before, because it is chance which
        calls end first. If the gaps may be the whole text and are the whole text, the task has no output, and fails
        with the most frequent cause of the gaps.
        """
        if self._always or not self._found or not (self.too_many or len(self._found) == self._total):
            return None
        failures = [failed.failure for _, failed in sorted(self._found.items())]
        code = commonest(failure.code for failure in failures)
        cause = next(failure for failure in failures if failure.code == code)
        if not self.too_many:
            return cause
        share = f"{len(failures)} of {self._total} chunks failed for good, more than maxGapShare of the characters"
        return Failure(TaskCode.TOO_MANY_GAPS, f"{share}; most with {code}: {cause.message}", True)


def refusal_of(error: ModelError) -> str | None:
    """Return, as JSON, the answer with which the provider refused a line of a batch for good; None if there is none."""
    if not isinstance(error, ModelRefused) or error.answer is None:
        return None
    status, body = error.answer
    return json.dumps({"status": status, "body": body}, ensure_ascii=False)

"""The workers of the property test that compares the store with its model, and a form to compare rows in."""

import json
from dataclasses import dataclass, field
from typing import Any

from src.kernel.domain.task import Failure
from src.kernel.store.claims import CallKey, Claim, FailedCall, MergeLevel, Output, Progress, Tries
from tests.support.store_model import ModelTask


@dataclass(slots=True)
class Worker:
    """A worker of the property test, which never learns that it has lost its claim."""

    claim: Claim
    holder: str
    host: str
    total: int
    merges: bool
    known: set[CallKey] = field(default_factory=set)
    settled: int = 0
    tokens: int = 0
    written: int = 0

    def progress(
        self, done: set[int], failed: set[int], in_flight: set[int], *, final: bool, failure: Failure
    ) -> Progress:
        """Return the next progress: a merge level after all chunks, and within the budget of calls."""
        outputs = [CallKey(0, at) for at in sorted(done) if at < self.total][: self._room()]
        self.known |= set(outputs)
        # Each claim writes the merge plan again, even if an earlier claim wrote it: the store does not read the plan's
        # content.
        merges = [MergeLevel(1, (self.claim.fence,))] if self.merges else []
        if self.merges and self.total > 1 and sum(key.level == 0 for key in self.known) == self.total:
            outputs = [*outputs, CallKey(1, 0)][: self._room()]
        self.settled += len(outputs)
        self.tokens += 7 * len(outputs)
        failed_calls = [
            FailedCall(CallKey(0, at), Tries(1, 2), final, failure) for at in sorted(failed - done) if at < self.total
        ]
        self.written += 1
        return Progress(
            step=self.claim.step + self.written,
            outputs=[Output(key, f"{self.claim.fence} wrote {key}", 1) for key in outputs],
            failures=failed_calls,
            merges=merges,
            in_flight=[CallKey(0, at) for at in sorted(in_flight) if at < self.total][: self._room()],
            calls_settled=self.claim.calls_settled + self.settled,
            calls_in_doubt=self.claim.calls_in_doubt,
            calls_minimum=self.total,
            completed=sum(key.level == 0 for key in self.known),
            failed=len(failed_calls) if final else 0,
            input_tokens=self.claim.input_tokens + self.tokens,
            output_tokens=self.claim.output_tokens + self.tokens,
            stalls=0 if self.settled else self.claim.stalls,
            rate_waits=self.claim.rate_waits,
            idle_runs=0 if outputs or failed_calls else self.claim.idle_runs + 1,
            finished=self.settled > 0,
            truncated=self.claim.truncated + self.settled,
        )

    def _room(self) -> int | None:
        claim = self.claim
        if claim.options.max_calls is None:
            return None
        return max(0, claim.options.max_calls - claim.calls_settled - claim.calls_in_doubt - self.settled)


def failed_values(item: FailedCall) -> tuple[Any, ...]:
    failure = item.failure
    return *item.tried[:2], int(item.final), failure.code, failure.message, int(failure.retryable)


_OPTIONS = ("reduce", "deadline_ms", "max_calls")
_NAMES = (
    *("status", "route", "total", "completed", "failed", "fence", "holder", "host", "lease_until"),
    *("attempts", "stalls", "stalled_since", "rest_until", "rate_waits"),
    *("calls_settled", "calls_in_doubt", "calls_minimum", "input_tokens"),
    *("output_tokens", "dispatches", "not_before", "wake_at", "created_at", "started_at", "finished_at"),
    *("deadline_at", "announced_at", "start_ms", "idle_runs", "truncated"),
)
_CLAIMED = (
    *("fence", "attempts", "stalls", "rate_waits", "idle_runs", "start_ms"),
    *("calls_settled", "calls_in_doubt", "input_tokens", "output_tokens", "truncated"),
)


def row_facts(row: dict[str, Any]) -> dict[str, Any]:
    code, message, retryable = (row[f"error_{name}"] for name in ("code", "message", "retryable"))
    calls = (json.loads(row["in_flight"]), json.loads(row["doubted"]))
    error = None if code is None else (code, message, bool(retryable))
    return {name: row[name] for name in (*_NAMES, *_OPTIONS)} | {"calls": calls, "error": error}


def task_facts(task: ModelTask) -> dict[str, Any]:
    failure = task.failure
    error = None if failure is None else (failure.code, failure.message, failure.retryable)
    calls = ([list(key) for key in task.in_flight], [list(key) for key in task.doubted])
    facts = {name: getattr(task, name) for name in _NAMES} | {name: getattr(task.options, name) for name in _OPTIONS}
    return facts | {"calls": calls, "error": error}


def claim_seen(claim: Claim) -> dict[str, Any]:
    return {name: getattr(claim, name) for name in _CLAIMED} | {
        "outputs": claim.outputs,
        "doubted": claim.doubted,
        "announced": claim.announced,
        "tried": claim.tried,
        "refused": claim.failed_for_good,
        "chunks": claim.total,
        "merges": (claim.merges, claim.merge_ends),
        "terms": (claim.deadline_left_ms, claim.options),
    }


def claim_expected(task: ModelTask, now: int) -> dict[str, Any]:
    return {name: getattr(task, name) for name in _CLAIMED} | {
        "outputs": frozenset(task.outputs),
        "doubted": frozenset(task.doubted),
        "announced": frozenset(task.in_flight),
        "tried": {key: item.tried for key, item in task.failures.items() if item.tried.calls and not item.final},
        "refused": {key: item.failure for key, item in task.refused().items()},
        "chunks": task.total,
        "merges": (tuple(map(len, task.merges.values())), task.merges[max(task.merges)] if task.merges else ()),
        "terms": (None if task.deadline_at is None else task.deadline_at - now, task.options),
    }

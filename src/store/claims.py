"""What a worker holds while it works on a task, and what it tells the store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from ..core.ids import TaskKey
from ..core.states import Status
from ..core.task import Failure, Reduce


class CallKey(NamedTuple):
    """Names one needed output: level 0 are the chunks, each level above merges the one below."""

    level: int
    position: int


@dataclass(frozen=True, slots=True)
class Tried:
    """Calls made so far for an output that is not there yet; `attempts` are those that count."""

    attempts: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim that was granted. Totals are those of the whole task, as the worker found them.

    `refused` are the calls that have failed for good, if the worker that recorded it could not end the task: no call
    starts under such a claim. `deadline_left_ms` was left when the claim was written; None without a deadline.
    `max_calls`: see `core.task`.
    """

    task_key: TaskKey
    fence: int
    attempts: int
    stalls: int
    rate_waits: int
    reduce: Reduce
    model: str | None
    text: str
    instructions: str
    cuts: tuple[int, ...]
    overlap: int
    merge_chars: int
    calls_settled: int
    calls_in_doubt: int
    input_tokens: int
    output_tokens: int
    outputs: frozenset[CallKey]
    tried: dict[CallKey, Tried]
    refused: dict[CallKey, Failure]
    announced: frozenset[CallKey]
    doubted: frozenset[CallKey]
    deadline_left_ms: int | None = None
    max_calls: int | None = None


class Standing(StrEnum):
    """Why a claim was not granted."""

    MISSING = "missing"
    TERMINAL = "terminal"
    HELD = "held"
    EARLY = "early"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A claim that was not granted; `left_ms` until the lease ends or the task is due."""

    standing: Standing
    left_ms: int = 0


class Output(NamedTuple):
    """An accepted output and the number of calls it took."""

    key: CallKey
    text: str
    calls: int


class FailedCall(NamedTuple):
    """A call that failed; `final` when no other will be made for it."""

    key: CallKey
    tried: Tried
    final: bool
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one write under a claim says. Totals are absolute."""

    outputs: Sequence[Output] = ()
    failures: Sequence[FailedCall] = ()
    in_flight: Sequence[CallKey] = ()
    calls_settled: int
    calls_in_doubt: int
    calls_minimum: int
    completed: int
    failed: int
    input_tokens: int
    output_tokens: int
    stalls: int
    rate_waits: int

    def totals(self) -> tuple[int | str, ...]:
        """Give the values of ?3 to ?12, in the order in which the statements name them."""
        return (
            self.calls_settled,
            json.dumps([list(key) for key in self.in_flight]),
            self.completed,
            self.failed,
            self.input_tokens,
            self.output_tokens,
            self.calls_minimum,
            self.stalls,
            self.rate_waits,
            self.calls_in_doubt,
        )


@dataclass(frozen=True, slots=True)
class Release:
    """Ends a claim, to be taken up again after `delay_ms`; the sweep looks after `sweep_ms`."""

    delay_ms: int
    sweep_ms: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends a claim with a completed task; `top_level` is the merge's last one, 0 without a merge."""

    retention_ms: int
    top_level: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """Ends a claim with a failed task."""

    retention_ms: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Continue:
    """Keeps the claim and renews its lease."""

    lease_ms: int


Ending = Release | Finish | Fail
Step = Continue | Ending


@dataclass(frozen=True, slots=True)
class Due:
    """What the sweep found: tasks by what they need. `now_ms` is the database's time."""

    now_ms: int = 0
    live: list[TaskKey] = field(default_factory=list)
    idle: list[TaskKey] = field(default_factory=list)
    past_retention: list[TaskKey] = field(default_factory=list)
    overdue: list[TaskKey] = field(default_factory=list)
    stalls: dict[TaskKey, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.live or self.idle or self.past_retention or self.overdue)

    def split(self, idle: int) -> "tuple[Due, Due]":
        """Return everything with so many of the idle tasks, and the other idle tasks."""
        first, others = self.idle[:idle], self.idle[idle:]
        stalls = [{key: self.stalls[key] for key in keys if key in self.stalls} for keys in (first, others)]
        return replace(self, idle=first, stalls=stalls[0]), Due(self.now_ms, idle=others, stalls=stalls[1])

    def add(self, task_key: TaskKey, status: Status, *, live: bool, overdue: bool, stalls: int) -> None:
        """Sort one task in; `stalls` are the workers in a row that died on it."""
        if overdue and not status.terminal:
            self.overdue.append(task_key)
            return
        if stalls and status is Status.PROCESSING and not live:
            self.stalls[task_key] = stalls
        if status.terminal:
            self.past_retention.append(task_key)
        elif status is Status.PROCESSING and live:
            self.live.append(task_key)
        else:
            self.idle.append(task_key)

"""Following a task: `Retry-After` of polls, reads of a request with `wait`, and server-sent events as text."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.api.follow.listening import poll_seconds
from src.kernel.api.follow.sse import event
from src.kernel.api.tasks.waiting_for import estimated_finish, retry_after_seconds
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route, Status, Task, TaskOptions, Usage, Wait

NOW_MS = 1_790_000_000_000


def task(total: int = 60, completed: int = 0, pace_ms: int | None = None, silent: float = 0.0) -> Task:
    return Task(
        task_key=TaskKey("local:x"),
        status=Status.PROCESSING,
        route=Route.QUEUE,
        options=TaskOptions(),
        total=total,
        completed=completed,
        failed=0,
        usage=Usage(model_calls=0, minimum_calls=total, in_doubt=0, input_tokens=0, output_tokens=0),
        attempts=0,
        failure=None,
        created_at=0,
        started_at=None,
        finished_at=None,
        expires_at=None,
        pace_ms=pace_ms,
        news_at=NOW_MS - round(1000 * silent),
        read_at=NOW_MS,
    )


def until(seconds: float) -> Wait:
    return Wait("model_away", NOW_MS + round(1000 * seconds))


@pytest.mark.parametrize(
    ("facts", "wait", "expected"),
    [
        ({}, None, 1),  # No call of the task has ended yet, so the client may poll at once.
        ({"silent": 3.2}, None, 4),  # Later `Retry-After` is as long as the time without progress.
        ({"silent": 300}, None, 30),
        # 30 chunks are left, at 3 a second: the client polls after half of these 10 s.
        ({"completed": 30, "pace_ms": 333}, None, 5),
        ({"completed": 59, "pace_ms": 1_000}, None, 1),
        ({"completed": 60, "pace_ms": 1_000}, None, 1),  # all chunks are done, and the merge is not
        ({"completed": 1, "pace_ms": 60_000}, None, 30),
        # Six calls at a time, one ending each second, take 6 s each, so 12 s without progress are normal.
        ({"completed": 59, "pace_ms": 1_000, "silent": 12}, None, 1),
        # 13 s without progress are more than twice a call's time, so the calls seem to hang.
        ({"completed": 59, "pace_ms": 1_000, "silent": 13}, None, 13),
        ({"silent": 3}, until(7.5), 8),  # `Retry-After` is at least the time until the wait ends
        ({"silent": 20}, until(7.5), 20),
        ({"silent": 3}, until(600), 30),
        ({"silent": 9}, Wait("queued", None), 9),
        # while a task waits, its pace does not change `Retry-After`
        ({"completed": 30, "pace_ms": 333, "silent": 2}, Wait("lease", None), 2),
        ({"silent": -5}, None, 1),
    ],
)
def test_retry_after(facts: dict[str, Any], wait: Wait | None, expected: int) -> None:
    """`Retry-After` is half the estimated remaining time of a task that makes progress."""
    assert retry_after_seconds(task(**facts), wait, concurrency=6) == expected


@given(
    total=st.integers(1, 5_000),
    share=st.floats(0, 1),
    pace_ms=st.none() | st.integers(0, 2**40),
    silent=st.floats(-1e6, 1e9),
    wait=st.none() | st.just(Wait("queued", None)) | st.builds(until, st.floats(-1e6, 1e9)),
    concurrency=st.integers(1, 6),
)
def test_retry_after_is_bounded(
    total: int, share: float, pace_ms: int | None, silent: float, wait: Wait | None, concurrency: int
) -> None:
    asked = task(total, int(total * share), pace_ms, silent)
    assert 1 <= retry_after_seconds(asked, wait, concurrency) <= 30


@pytest.mark.parametrize("silent_from", [0.0, 0.9])
def test_who_obeys_a_silent_task_asks_eight_times_in_a_minute(silent_from: float) -> None:
    polls, at = 0, silent_from
    while at < 60:
        polls += 1
        at += retry_after_seconds(task(silent=at), None, concurrency=6)
    assert polls <= 8


@pytest.mark.parametrize(
    ("facts", "wait", "expected"),
    [
        ({}, None, None),  # no pace yet
        ({"completed": 50, "pace_ms": 2_500}, None, "2026-09-21T14:13:45.000Z"),
        ({"completed": 50, "pace_ms": 2_500}, until(60), "2026-09-21T14:14:45.000Z"),
        ({"completed": 50, "pace_ms": 2_500}, Wait("lease", None), None),  # the end of a wait for a lease is unknown
    ],
)
def test_the_end_is_estimated_from_the_pace(facts: dict[str, Any], wait: Wait | None, expected: str | None) -> None:
    assert estimated_finish(task(**facts), wait) == expected


@given(st.floats(0, limits.WAIT_SECONDS_MOST), st.floats(0, 100))
def test_poll_is_never_faster_than_stated(waited: float, took: float) -> None:
    pause = poll_seconds(waited, took)
    assert limits.WAIT_POLL_SECONDS <= pause <= limits.WAIT_TOLD_SECONDS
    assert pause <= 1 or pause == pytest.approx(min(limits.WAIT_TOLD_SECONDS, limits.LOOK_LATENCIES * took))
    assert pause >= min(limits.WAIT_TOLD_SECONDS, limits.LOOK_LATENCIES * took)


BREAKS = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if len(f"a{char}b".splitlines()) > 1)


def test_data_is_one_line_for_each_client():
    """A client may split a stream where Unicode ends a line, and a model's text may have any character."""
    assert "\x85" in BREAKS
    name, data, *rest = event("chunk", {"output": f"a{BREAKS}b"}).splitlines()
    assert (name, data[:6], rest) == ("event: chunk", "data: ", [""])

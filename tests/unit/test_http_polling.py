"""The poll hint and the pace of `?wait=`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core import limits
from src.core.ids import TaskKey
from src.core.states import Status
from src.core.task import Route, Task, TaskOptions, Usage
from src.http.polling import poll_seconds, retry_after_seconds


def task(total: int, completed: int, started_at: int | None) -> Task:
    """Make a task that is under way."""
    return Task(
        task_key=TaskKey("local:x"),
        status=Status.PENDING if started_at is None else Status.PROCESSING,
        route=Route.QUEUE,
        options=TaskOptions(),
        total=total,
        completed=completed,
        failed=0,
        usage=Usage(model_calls=0, minimum_calls=total, in_doubt=0, input_tokens=0, output_tokens=0),
        attempts=0,
        failure=None,
        created_at=0,
        started_at=started_at,
        finished_at=None,
        expires_at=None,
    )


@pytest.mark.parametrize(
    ("total", "completed", "started_at", "now_ms", "expected"),
    [
        (1, 0, None, 0, 1),  # a small task is worth asking about at once
        (60, 0, None, 0, 5),  # 60 chunks, six at a time, one second each: half of the 10 s
        (5_000, 0, None, 0, 30),
        (60, 0, 0, 20_000, 5),  # begun, but no pace yet
        (60, 30, 0, 10_000, 5),  # 30 left at 3 a second: half of 10 s
        (60, 59, 0, 59_000, 1),
        (60, 60, 0, 60_000, 1),  # the chunks are done, the merge is not
        (60, 1, 0, 3_600_000, 30),
        (60, 1, 5_000, 4_000, 1),  # an isolate's clock behind the database's
    ],
)
def test_retry_after(total: int, completed: int, started_at: int | None, now_ms: int, expected: int) -> None:
    """The hint follows from the work left and the pace so far, and from a guess before there is one."""
    assert retry_after_seconds(task(total, completed, started_at), now_ms, concurrency=6) == expected


@given(total=st.integers(1, 5_000), share=st.floats(0, 1), now_ms=st.integers(0, 2**45), concurrency=st.integers(1, 6))
def test_retry_after_is_bounded(total: int, share: float, now_ms: int, concurrency: int) -> None:
    """Whatever the task and the clocks are, the hint is a whole number of seconds from 1 to 30."""
    assert 1 <= retry_after_seconds(task(total, int(total * share), 1_000), now_ms, concurrency) <= 30


@given(st.floats(0, limits.WAIT_SECONDS_MOST))
def test_poll_is_never_faster_than_stated(waited: float) -> None:
    """D1 is never asked more than twice a second."""
    assert limits.WAIT_POLL_SECONDS <= poll_seconds(waited) <= 1

"""Used-up daily allowances: each route tells them from outages, and an invocation knows what it may still spend."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.errors import (
    SchemaMissing,
    StoreError,
    StoreFull,
    StoreQuotaExhausted,
    StoreUnavailable,
    is_used_up,
    seconds_until_reset,
)
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.run.allowance import Allowance
from src.kernel.run.log import Log
from src.kernel.work.dispatch import Dispatcher
from src.queue.consumer import consume
from tests.support.sqlite_d1 import NETWORK_LOST, OVERLOADED, ROWS_USED_UP
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

QUEUE_USED_UP = "Queue send failed: Too Many Requests (10253)"
OBJECTS_USED_UP = "Exceeded allowed duration in Durable Objects free tier."
TASK = TaskKey("local:0192f0c8-7c00-7000-8000-000000000000")


@pytest.mark.parametrize(
    ("message", "used_up"),
    [
        (ROWS_USED_UP, True),
        (OBJECTS_USED_UP, True),
        ("Exceeded allowed rows written in Durable Objects free tier.", True),
        ("Exceeded allowed volume of requests in Durable Objects free tier.", True),
        (QUEUE_USED_UP, True),
        ("Queue send failed: FreeTierLimitExceeded", True),
        ("Queue send failed: Too Many Requests (10250)", False),
        ("Queue send failed: Too Many Requests", False),
        ("id 9910253 is unknown", False),
        (NETWORK_LOST, False),
        (OVERLOADED, False),
    ],
)
def test_a_used_up_allowance_is_known_by_its_text(message: str, used_up: bool):
    assert is_used_up(message) is used_up


@pytest.mark.parametrize(("now_ms", "seconds"), [(0, 86_400), (1, 86_400), (86_399_001, 1), (86_400_000, 86_400)])
def test_allowances_begin_anew_at_midnight_utc(now_ms: int, seconds: int):
    assert seconds_until_reset(now_ms) == seconds


class Sender:
    """A route that refuses each task with the given message, or takes each."""

    def __init__(self, route: Route, refuses: str = "") -> None:
        self.route = route
        self.refuses = refuses
        self.sent: list[tuple[TaskKey, float]] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.sent.append((task_key, delay_seconds))


def test_the_log_says_why_a_task_fell_through():
    lines: list[str] = []
    senders = [Sender(Route.QUEUE, QUEUE_USED_UP), Sender(Route.DURABLE_OBJECT, OBJECTS_USED_UP), Sender(Route.DIRECT)]
    assert asyncio.run(Dispatcher(senders, Meter(), Log(lines.append)).dispatch(TASK)) is Route.DIRECT
    events = [json.loads(line) for line in lines]
    assert [(event["route"], event.get("reason")) for event in events] == [
        ("queue", "quota"),
        ("durable-object", "quota"),
        ("direct", None),
    ]
    lines.clear()
    senders[0].refuses = "Queue send failed: Internal Server Error"
    asyncio.run(Dispatcher(senders, Meter(), Log(lines.append)).dispatch(TASK))
    assert json.loads(lines[0])["reason"] == "outage"


@dataclass
class Delivery:
    attempts: int
    id: str = "m"
    body: object = field(default_factory=lambda: {"taskId": TASK})
    fate: str = ""

    def ack(self) -> None:
        self.fate = self.fate or "ack"

    def retry(self, options: dict[str, int]) -> None:
        self.fate = self.fate or "retry"


@dataclass
class Failing:
    """A batch of one message, and a worker that raises the given error for it."""

    error: StoreError
    messages: list[Delivery]
    queue: str = "ai-processing-queue"
    can_afford_run: bool = True

    async def run(self, task_key: TaskKey, host: object) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "attempts", "fate"),
    [
        (StoreUnavailable("away"), 1, "retry"),
        (StoreUnavailable("away"), 3, "ack"),
        (SchemaMissing("not yet"), 1, "retry"),
        (SchemaMissing("not yet"), 3, "ack"),
        (StoreQuotaExhausted("used up"), 1, "ack"),
        (StoreFull("full"), 1, "ack"),
    ],
)
def test_a_database_in_trouble_is_not_the_tasks_fault(error: StoreError, attempts: int, fate: str):
    batch: Any = Failing(error, [Delivery(attempts=attempts)])
    lines: list[str] = []
    nothing: Any = None
    asyncio.run(consume(batch, batch, nothing, nothing, nothing, Log(lines.append)))
    assert batch.messages[0].fate == fate
    assert json.loads(lines[0])["error"] == error.code


@pytest.mark.parametrize("spent", ["subrequests", "statements"])
def test_a_message_for_which_no_allowance_is_left_goes_on_in_another_invocation(spent: str):
    """It runs with the least allowance for a run; with less the task is sent off, without D1."""
    for lacking, sent, status in ((1, 1, Status.PENDING), (0, 0, Status.COMPLETED)):
        bench = WorkerBench()
        bench.do(bench.store.insert(new_task(TASK, 1, Reduce.NONE, START_MS), bench.settings.lease_ms))
        worker, sender, message = bench.worker(), Sender(Route.QUEUE), Delivery(1)
        setattr(worker.meter, spent, getattr(worker.settings, spent) - limits.RUN_LEAST + lacking)
        batch: Any = Failing(StoreUnavailable("not asked"), [message])
        log = Log(lambda line: None)
        left: list[TaskKey] = []

        async def leave(task_key: TaskKey) -> None:
            left.append(task_key)  # noqa: B023 - called here

        bench.do(consume(batch, worker, Dispatcher([sender], worker.meter, log), HOST, leave, log))
        assert left == ([] if sent else [TASK])  # a task that continues in another invocation keeps its lanes
        assert message.fate == "ack"
        assert sender.sent == [(TASK, 0)] * sent
        assert bench.do(bench.store.task(TASK)).status is status
        bench.close()


def test_calls_start_only_with_statements_left_to_record_them():
    meter = Meter()
    budget = Allowance(60, 45, 45, meter, 0)
    assert budget.affordable_calls(0, 6, 0, 1) == 6
    meter.spend_database_call(28)
    assert budget.affordable_calls(0, 6, 0, 1) == 4  # 45 - 28 - 9 = 8
    assert budget.affordable_calls(0, 6, 2, 1) == 2
    assert budget.affordable_calls(0, 30, 0, 6) == 12
    assert budget.affordable_calls(0, 30, 2, 6) == 0

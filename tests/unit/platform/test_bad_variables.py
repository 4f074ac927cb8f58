"""While a variable has a bad value, no work is done, and no task loses anything."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import simulator.platform.sdk  # noqa: F401 - stands in for the SDK that the classes below import
from src.kernel.api.base.services import RequestMemory
from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import CallNotStarted, ConfigurationError
from src.kernel.domain.ids import TaskKey
from src.platform.durable_objects import AIProcessor
from src.platform.surroundings import SURROUNDINGS, Surroundings
from src.platform.worker_entrypoint import Default
from src.queue.messages import DEAD_LETTERS, QUEUE
from tests.support.sqlite_d1 import SqliteD1

TASK = "t:01999999-0000-7000-8000-000000000000"


class Message:
    """A delivered message that notes whether it was acknowledged or retried."""

    def __init__(self, attempts: int) -> None:
        self.id = "message"
        self.body = {"taskId": TASK}
        self.attempts = attempts
        self.end: object = None

    def ack(self) -> None:
        self.end = self.end or "ack"

    def retry(self, options: dict[str, int]) -> None:
        self.end = self.end or options["delaySeconds"]


class Storage:
    def __init__(self) -> None:
        self.values: dict[str, object] = {"task": TASK}
        self.alarms: list[int] = []

    async def get(self, key: str) -> object:
        return self.values.get(key)

    async def put(self, key: str, value: object) -> None:
        self.values[key] = value

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        self.alarms.append(at_ms)

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        self.values.clear()


class Deployment:
    """A deployment whose AI_TIMEOUT_SECONDS is no number. `lines` is its log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.database = SqliteD1()
        self.env: Any = SimpleNamespace(DB=self.database, AI_TIMEOUT_SECONDS="soon")
        self.storage = Storage()
        self.ctx: Any = SimpleNamespace(waitUntil=None, storage=self.storage)
        runtime: Any = SimpleNamespace(write=self.lines.append, now_ms=lambda: 0, http=None, courier=None)
        SURROUNDINGS.set(Surroundings(runtime=runtime, memory=RequestMemory()))

    def events(self) -> list[dict[str, Any]]:
        assert not any("soon" in line for line in self.lines)
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    token = SURROUNDINGS.set(SURROUNDINGS.get())
    made = Deployment()
    yield made
    SURROUNDINGS.reset(token)
    made.database.close()


@pytest.mark.parametrize("queue", [QUEUE, DEAD_LETTERS])
def test_messages_are_put_off_and_end_in_no_dead_letter(deployment: Deployment, queue: str) -> None:
    """With a bad variable the consumer asks for messages to be delivered again later."""
    messages = [Message(attempts) for attempts in range(1, limits.QUEUE_DELIVERIES + 1)]
    batch: Any = SimpleNamespace(queue=queue, messages=messages)
    asyncio.run(Default(deployment.ctx, deployment.env).queue(batch))
    assert [message.end for message in messages] == [30, 30, "ack"]
    assert {(line["event"], line["variable"], line["message"]) for line in deployment.events()} == {
        ("bad_configuration", "AI_TIMEOUT_SECONDS", "message")
    }
    assert deployment.database.batches == 0


def test_the_cron_trigger_fails_and_takes_nothing_on(deployment: Deployment) -> None:
    with pytest.raises(ConfigurationError):
        asyncio.run(Default(deployment.ctx, deployment.env).scheduled(None))
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]
    assert deployment.database.batches == 0


def test_an_object_comes_back_for_its_task(deployment: Deployment) -> None:
    """An alarm with a bad variable raises nothing, as six repetitions would drop it, and is set again."""
    made = AIProcessor(deployment.ctx, deployment.env)
    asyncio.run(made.alarm())
    assert deployment.storage.values["task"] == TASK
    assert deployment.storage.alarms[-1] > 0
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]


def test_a_lane_says_that_it_started_nothing(deployment: Deployment) -> None:
    calls = [wire.write_call(ModelCall("do", text, "m")) for text in "ab"]
    answers = asyncio.run(AIProcessor(deployment.ctx, deployment.env).infer(TaskKey(TASK), 1, calls))
    assert [type(wire.read_outcome(answer)) for answer in answers] == [CallNotStarted] * 2
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]
    assert deployment.database.batches == 0

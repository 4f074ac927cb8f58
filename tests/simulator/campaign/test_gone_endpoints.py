"""Tests the check that no webhook message goes to an endpoint that has been gone for a minute."""

import json
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.campaign.checks.webhooks import Webhooks
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.receivers import ReceivedMessage
from simulator.campaign.subject.row_changes import InvariantBroken
from src.features.webhooks.rules import DeliveryKey, endpoint_key_of
from src.kernel.domain.ids import TaskKey

EPOCH_MS, ENDED_SECONDS = 1_790_000_000_000, 10
ENDED_MS = EPOCH_MS + 1000 * ENDED_SECONDS
TASK, ENDPOINT = TaskKey("local:t"), endpoint_key_of("local", "we_000000000000000000000000")
URL = "https://local-0.example.com/"
GONE = "gone for a minute"
DELETED = "DELETE FROM webhook_endpoints WHERE id = ?"
DISABLED = "UPDATE webhook_endpoints SET disabled_at = 1 WHERE id = ?"


class OneEnd:
    """A stand-in for the simulated world, with one ended task, whose end its tenant's endpoint is to hear of."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.loop = SimpleNamespace(now=lambda: self.seconds)
        self.connection = TEMPLATE.acquire()
        self.database = SimpleNamespace(
            connection=self.connection, observers=[], now_ms=self.now_ms, jumped_at_ms=-1_000_000
        )
        world: Any = self
        clients: Any = None
        self.webhooks = Webhooks(world, clients, Random(1))
        self.connection.execute("DELETE FROM webhook_endpoints WHERE id <> ?", (ENDPOINT,))
        self.connection.execute(
            "INSERT INTO tasks (id, status, route, reduce, metadata, total, merge_chars, calls_minimum, created_at, "
            "wake_at, finished_at, error_code) VALUES (?, 'failed', 'queue', 'none', '{}', 1, 1, 1, ?, ?, ?, 'x')",
            (TASK, EPOCH_MS, ENDED_MS, ENDED_MS),
        )
        self.connection.execute(
            "INSERT INTO webhook_deliveries (state, task_id, generation, endpoint_id, event, ended_at, begun_at, "
            "due_at) VALUES (1, ?, 0, ?, 'task.failed', ?, ?, ?)",
            (TASK, ENDPOINT, ENDED_MS, ENDED_MS, ENDED_MS + 10_000_000),
        )
        self.written(at=ENDED_SECONDS)

    def now_ms(self) -> int:
        return EPOCH_MS + round(1000 * self.seconds)

    def written(self, *, at: float) -> None:
        self.seconds = at
        for look in self.database.observers:
            look()

    def arrives(self, *, at: float, behind: float, url: str = URL) -> None:
        """Let the message about the task's end reach a receiver."""
        self.seconds = at
        message_id = DeliveryKey(TASK, 0, ENDPOINT, ENDED_MS).id
        body = json.dumps({"id": message_id, "type": "task.failed", "data": {"id": "t"}})
        self.webhooks.receivers.arriving(ReceivedMessage(at, message_id, url, body, True, at + 1, behind))


@pytest.fixture
def world() -> Iterator[OneEnd]:
    made = OneEnd()
    yield made
    TEMPLATE.release(made.connection)


@pytest.mark.parametrize("removal", [DELETED, DISABLED])
@pytest.mark.parametrize(
    ("arrives_at", "behind"),
    [pytest.param(161, 0, id="after the minute"), pytest.param(361, 200, id="by the clock of a frozen sender")],
)
def test_a_message_to_an_endpoint_that_is_gone_is_noticed(
    world: OneEnd, removal: str, arrives_at: float, behind: float
):
    world.connection.execute(removal, (ENDPOINT,))
    world.written(at=100)
    world.written(at=155)
    with pytest.raises(InvariantBroken, match=GONE):
        world.arrives(at=arrives_at, behind=behind)


def test_a_message_to_an_unknown_address_is_noticed(world: OneEnd):
    """The check breaks if a message goes to a URL that no endpoint ever had."""
    with pytest.raises(InvariantBroken, match=GONE):
        world.arrives(at=11, behind=0, url="https://elsewhere.example.com/")

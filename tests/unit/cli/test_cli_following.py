"""How `onceover` follows a task, by its events or by polls, while the server goes away and comes back."""

from typing import Any

import pytest

from onceover_cli.backoff import Backoff
from onceover_cli.connection import Address, ApiClient
from onceover_cli.errors import ServerRefused, Unreachable
from onceover_cli.following import Following
from tests.support.fake_api import LOST, TASK_ID, Answer, Asked, FakeApi, chunk, event, problem, task

PATH = f"/api/tasks/{TASK_ID}"


class Listener:
    """Records what `onceover` would show to a user who watches a task."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.notes: list[str] = []
        self.news: list[dict[str, Any]] = []

    def progress(self, news: dict[str, Any]) -> None:
        self.news.append(news)

    def chunk(self, chunk: dict[str, Any]) -> None:
        self.chunks.append(chunk["output"])

    def note(self, text: str) -> None:
        self.notes.append(text)


class Clock:
    """A clock that moves only when the code under test waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def backoff(self, patience: float = 600.0) -> Backoff:
        return Backoff(patience, sleep=self.sleep, clock=lambda: self.now)


def follow(fake: FakeApi, patience: float = 600.0) -> tuple[dict[str, Any], Listener, Clock]:
    listener, clock = Listener(), Clock()
    with ApiClient(Address(fake.url)) as api:
        return Following(api, TASK_ID, listener, backoff=clock.backoff(patience)).to_the_end(), listener, clock


def test_events_are_followed_to_the_end():
    stream = [
        event("status", {"status": "processing"}, "0-1"),
        event("chunk", chunk(0, "one"), "0-2"),
        event("progress", {"total": 2, "completed": 1, "failed": 0, "truncated": 0}),
        ":\n\n",
        event("chunk", chunk(1, "two"), "0-3"),
        event("end", task()),
    ]
    with FakeApi().on("GET", f"{PATH}/events", Answer(stream=stream)) as fake:
        ended, listener, _ = follow(fake)
    assert ended["status"] == "completed"
    assert listener.chunks == ["one", "two"]
    assert listener.news == [{"status": "processing"}, {"total": 2, "completed": 1, "failed": 0, "truncated": 0}]
    assert listener.notes == []


def test_a_stream_that_closes_is_opened_again_behind_its_last_event():
    first = Answer(stream=[event("chunk", chunk(0, "one"), "0-2"), "retry: 40\n\n"])
    second = Answer(
        stream=[event("chunk", chunk(0, "one"), "0-2"), event("chunk", chunk(1, "two"), "0-3"), event("end", task())]
    )
    with FakeApi().on("GET", f"{PATH}/events", first, second) as fake:
        _, listener, clock = follow(fake)
        asked = fake.requests("GET", f"{PATH}/events")
    assert [one.headers.get("last-event-id") for one in asked] == [None, "0-2"]
    assert listener.chunks == ["one", "two"]
    assert clock.waits == [0.04]


def test_an_id_that_the_server_does_not_know_any_more_is_let_go():
    first = Answer(stream=[event("chunk", chunk(0, "one"), "0-9")])
    last = Answer(
        stream=[event("chunk", chunk(0, "one"), "1-1"), event("chunk", chunk(1, "two"), "1-2"), event("end", task())]
    )
    with FakeApi().on("GET", f"{PATH}/events", first, problem(422, "invalid_fields"), last) as fake:
        _, listener, _ = follow(fake)
        asked = fake.requests("GET", f"{PATH}/events")
    assert [one.headers.get("last-event-id") for one in asked] == [None, "0-9", None]
    assert listener.chunks == ["one", "two"]


def test_a_server_that_goes_away_and_comes_back_is_waited_for():
    cut = Answer(stream=[event("chunk", chunk(0, "one"), "0-2")])
    rest = Answer(stream=[event("chunk", chunk(1, "two"), "0-3"), event("end", task())])
    away = problem(503, "database_unavailable", "The database cannot be reached.")
    with FakeApi().on("GET", f"{PATH}/events", cut, LOST, away, LOST, rest) as fake:
        ended, listener, clock = follow(fake)
    assert ended["status"] == "completed"
    assert listener.chunks == ["one", "two"]
    assert len(listener.notes) == 2
    assert "trying again" in listener.notes[0]
    assert listener.notes[1] == "the server is back"
    _, *pauses = clock.waits
    assert [low <= pause <= 2 * low for low, pause in zip((0.25, 0.5, 1.0), pauses, strict=True)] == [True] * 3


def test_patience_ends():
    with FakeApi().on("GET", f"{PATH}/events", LOST) as fake, pytest.raises(Unreachable, match="was lost"):
        follow(fake, patience=20)


def test_a_pause_that_the_server_asks_for_is_kept():
    slow = problem(429, "limit_reached", Retry_After="7")
    with FakeApi().on("GET", f"{PATH}/events", slow, Answer(stream=[event("end", task())])) as fake:
        _, _, clock = follow(fake)
    assert clock.waits == [7.0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_ends_the_following(status: int):
    """If the server refuses the key, `onceover` stops at once, since a revoked key never becomes valid again."""
    with (
        FakeApi().on("GET", f"{PATH}/events", problem(status, "unauthenticated")) as fake,
        pytest.raises(ServerRefused),
    ):
        follow(fake)


def test_without_events_the_task_is_polled():
    pages: dict[str | None, list[dict[str, Any]]] = {
        None: [
            {"chunks": [chunk(0, "zero"), chunk(2, "two")], "nextCursor": "3"},
            {"chunks": [chunk(0, "zero"), chunk(1, "one"), chunk(2, "two")], "nextCursor": "3"},
        ],
        "3": [{"chunks": [chunk(3, "three")], "nextCursor": None}],
    }

    def some(asked: Asked) -> dict[str, Any]:
        given = pages[asked.query.get("cursor")]
        return given.pop(0) if len(given) > 1 else given[0]

    def going(done: int) -> dict[str, Any]:
        return task("processing", progress={"total": 5, "completed": done, "failed": 0, "truncated": 0})

    over = task("cancelled", progress={"total": 5, "completed": 4, "failed": 0, "truncated": 0})
    with FakeApi().on("GET", PATH, going(2), going(3), over).on("GET", f"{PATH}/chunks", some) as fake:
        ended, listener, _ = follow(fake)
        waits = [asked.query.get("wait") for asked in fake.requests("GET", PATH)]
    assert ended["status"] == "cancelled"
    assert listener.chunks == ["zero", "one", "two", "three"]
    assert waits == [None, "1", "2"]


def test_something_that_eats_the_events_leads_to_polls():
    html = Answer(200, {}, {"Content-Type": "text/html"})
    with FakeApi().on("GET", f"{PATH}/events", html).on("GET", PATH, task()) as fake:
        assert follow(fake)[0]["status"] == "completed"
    with FakeApi().on("GET", f"{PATH}/events", Answer(stream=[])).on("GET", PATH, task()) as fake:
        assert follow(fake)[0]["status"] == "completed"

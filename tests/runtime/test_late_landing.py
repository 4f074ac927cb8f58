"""Bills stay right while D1 loses answers, lets writes land late, and hangs."""

import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.support.chaos_audit import audit
from tests.support.chaos_work import Submission, submissions
from tests.support.client import Client, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.routes import STARTS_SECONDS, on_each_route
from tests.support.shared_d1 import SERVED, Fate, SharedD1
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
TASKS = 12
SEED = 7
# What happens to twenty calls that write, and to twenty that only read, in shuffled order. Half of the writes whose
# answer never comes take effect.
WRITES = ("lost",) * 4 + ("silent",) * 2 + ("served",) * 14
READS = ("silent",) + ("served",) * 19
LANDS_MS = (1_000, 5_000)
# With the settings in `SETTINGS`, none of the faults in this test makes a task fail.
SETTINGS = {"LEASE_SECONDS": 4, "AI_TIMEOUT_SECONDS": 2, "MAX_ATTEMPTS": 20, "PLAN": "paid", "SHORT_LIMITS": "yes"}


class Trouble:
    """Decides what happens to each call to D1; all calls are served while `on` is False."""

    def __init__(self) -> None:
        self.on = False
        self._random = Random(SEED)
        self._decks: dict[bool, list[str]] = {True: [], False: []}

    def __call__(self, writes: bool) -> Fate:
        """Decide what happens to a call as if by drawing from a shuffled deck of cards, so that each kind comes up."""
        if not self.on:
            return SERVED
        deck = self._decks[writes]
        if not deck:
            deck += WRITES if writes else READS
            self._random.shuffle(deck)
        match deck.pop():
            case "lost":
                return Fate("lost", self._random.randint(*LANDS_MS))
            case "silent":
                return Fate("silent", self._random.choice((0, None)))
        return SERVED


def tag(number: int) -> str:
    return f"t{number:04}"


def submit(client: Client, number: int, parts: int, reduce: str, refused: set[str]) -> str:
    """Send a submission until it is accepted; a refused one may have made calls, and goes to `refused`."""
    body = Submission(tag(number), parts, reduce).body()
    while True:
        answer = client.http.post(
            "/api/tasks", json=body, headers={"Idempotency-Key": f"key-{number}", "Connection": "close"}
        )
        if answer.status_code in {200, 202}:
            return str(answer.json()["id"])
        assert answer.status_code == 503, answer.text
        refused.add(tag(number))
        threading.Event().wait(float(answer.headers["Retry-After"]) / 10)


def left(client: Client) -> int | None:
    answers = [client.http.get(f"/api/tasks?status={status}&limit=100") for status in ("pending", "processing")]
    if any(answer.status_code == httpx.codes.SERVICE_UNAVAILABLE for answer in answers):
        return None
    return sum(len(answer.json()["tasks"]) for answer in answers)


def live_through_it(environment: Sequence[str], folder: Path) -> None:
    trouble = Trouble()
    with (
        SharedD1() as database,
        ModelServer(api_key="test-key", latency_seconds=0.2) as model,
        DevServer(
            folder / "state",
            *environment,
            *openai(model.base_url, **SETTINGS),
            *("--cron-every", "1"),
            project=write_wired_worker(folder / "project"),
            environ={"NODE_OPTIONS": database.options(folder)},
            ready_seconds=STARTS_SECONDS,
        ) as server,
        Client(server.url) as client,
    ):
        assert client.http.get("/api/async-status").status_code == 200  # The Worker has its short limits now.
        database.decide = trouble
        trouble.on = True
        work = list(submissions(SEED, TASKS))
        refused: set[str] = set()
        accepted = [submit(client, number, *one, refused) for number, one in enumerate(work)]
        # The client sends all submissions again, as if it had lost the answers.
        assert [submit(client, number, *one, set()) for number, one in enumerate(work)] == accepted
        eventually(lambda: left(client) == 0, seconds=240, pause=0.5)
        trouble.on = False
        eventually(lambda: not database.landing, seconds=60)
        model.wait_until_idle()
        listed = client.http.get("/api/tasks?limit=100").json()["tasks"]
        found = audit(accepted, [client.task(task["id"]) for task in listed], model.calls())
        print(environment, found, database.fates, refused)
        assert [what for what in found.violations if not any(f"({one})" in what for one in refused)] == []
        assert len(refused) < TASKS / 2
        assert found.statuses == {"completed": TASKS}  # No task was made twice.
        assert found.model_calls >= found.minimum_calls > TASKS
        assert database.fates["lost"] >= 10
        assert database.fates["silent"] >= 5


def test_writes_that_land_late_and_calls_without_an_answer(tmp_path: Path) -> None:
    on_each_route(tmp_path, live_through_it)

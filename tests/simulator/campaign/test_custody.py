"""Tests the invariants of custody and of client promises: what they report, and what they allow."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.campaign.checks.client_promises import ClientPromises
from simulator.campaign.checks.custody import BILLS_JUDGED, RUNS_JUDGED, RUNS_JUDGED_FULL, Custody
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelConnectionLost, ModelError, ModelTimeout, ModelUnavailable
from src.kernel.domain.ids import TaskKey

KEY = TaskKey("local:t")
CALL = ModelCall("\ntag", "", "")


class Watched:
    """A stand-in for the simulated world that does what a test says, with one task at a chosen fence."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.full_ms = 0
        self.settles = True  # true if the bill counts calls that were answered as settled
        self.now_ms = lambda: 0
        self.loop = SimpleNamespace(call_soon=self._call_soon, outside=None, now=lambda: 0.0)
        self.model = SimpleNamespace(worth=lambda output: output)
        self.app = SimpleNamespace()
        self.database = SimpleNamespace(
            offset_ms=0.0, serve=None, cap=SimpleNamespace(longest_ms=lambda _since, _until: self.full_ms)
        )
        self.rate_limiter = None
        self.invariants: Any = SimpleNamespace(
            rows={KEY: SimpleNamespace(task_key=KEY, fence=1, status="processing", settled=0, is_batch=False)},
            outputs={},
            judged=Counter(),
            born={"tag": [KEY]},
            made={"tag": [KEY]},
            endings=SimpleNamespace(given_up=set(), shut=Counter()),
            tags={KEY: "tag"},
        )

    def _call_soon(self, function: Callable[..., None], error: InvariantBroken, *, context: object) -> None:
        assert context is self.loop.outside
        assert callable(function)
        self.broken.append(str(error))

    def logs(self, event: str, fence: int = 1) -> None:
        told = {"event": event, "task": "t", "tenant": "local", "fence": fence, "route": "queue"}
        self.app.hears(json.dumps(told, separators=(",", ":")))

    def output(self, text: str) -> Coroutine[Any, Any, None]:
        async def call() -> None:
            self.invariants.rows[KEY].settled += self.settles
            self.model.received(CALL, ModelReply(text, input_tokens=1, output_tokens=1))

        return call()

    async def failure(self, error: ModelError) -> None:
        self.invariants.rows[KEY].settled += self.settles
        self.model.failed(CALL, error)


async def run_of(world: Watched) -> None:
    world.logs("claimed")
    await asyncio.create_task(world.output("of 1"))
    world.logs("run_ended")


def watched() -> Watched:
    world = Watched()
    Custody(world, world.invariants)  # type: ignore[arg-type]
    return world


def test_an_output_that_is_not_on_record_is_noticed():
    """The invariant breaks if a run ends with an output that is not stored, although the task still belongs to it."""
    world = watched()
    asyncio.run(run_of(world))
    assert ["1 of 1 outputs that had come were thrown away" in broken for broken in world.broken] == [True]
    world = watched()
    world.invariants.outputs[KEY, "0", "0"] = "of 1"
    asyncio.run(run_of(world))
    assert world.broken == []


@pytest.mark.parametrize(("full_seconds", "noticed"), [(0, True), (19, True), (20, False)])
def test_a_full_database_excuses_a_run_that_it_was_full_under(full_seconds: int, noticed: bool):
    world = watched()
    world.full_ms = 1000 * full_seconds
    asyncio.run(run_of(world))
    assert bool(world.broken) == noticed
    assert world.invariants.judged == (
        +Counter({RUNS_JUDGED: 1, BILLS_JUDGED: 1, RUNS_JUDGED_FULL: int(full_seconds > 0)}) if noticed else {}
    )


@pytest.mark.parametrize("settles", [False, True])
@pytest.mark.parametrize(
    "error", [None, ModelUnavailable("503"), ModelTimeout("no reply"), ModelConnectionLost("lost")]
)
def test_an_answered_call_that_is_booked_as_doubted_is_noticed(error: ModelError | None, settles: bool):
    """The invariant breaks if a call that was answered with an output or an error is in doubt on the bill.

    A model call that nobody answered may be in doubt on the bill.
    """
    world = watched()
    world.settles = settles
    world.invariants.outputs[KEY, "0", "0"] = "out"

    async def run() -> None:
        world.logs("claimed")
        await asyncio.create_task(world.output("out") if error is None else world.failure(error))
        world.logs("run_ended")

    asyncio.run(run())
    answered = error is None or error.answered
    said = "1 calls were answered, and 0 of them are settled on the bill"
    assert [said in broken for broken in world.broken] == ([] if settles or not answered else [True])
    assert world.invariants.judged[BILLS_JUDGED] == answered


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_task_whose_client_was_told_of_another_request_is_not_there(taken_back: bool):
    """If a request is refused because its key belongs to another request, its task has been withdrawn."""
    world = Watched()
    promises = ClientPromises(world, world.invariants)  # type: ignore[arg-type]
    arrival = SimpleNamespace(
        method="POST", url="https://x/api/tasks", headers={}, body={"instructions": "tag"}, retries=0
    )
    world.invariants.retries = {TaskKey(""): 0}
    promises.arrived(arrival)  # type: ignore[arg-type]
    promises.read(arrival)  # type: ignore[arg-type]
    if taken_back:
        promises.taken_back(KEY)
    promises.answered(
        arrival,  # type: ignore[arg-type]
        SimpleNamespace(status=409, headers={}, body='{"code": "idempotency_mismatch"}'),  # type: ignore[arg-type]
    )
    said = f"{KEY}: accepted, and its client was told that the key is another request's"
    assert world.broken == ([] if taken_back else [said])

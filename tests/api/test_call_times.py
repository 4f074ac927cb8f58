"""The data for a waterfall diagram: when the call for each output was made, and which calls have no answer yet."""

import asyncio

from src.kernel.api.base.views import rfc3339
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.task import Route
from src.kernel.store.claims import CallKey, Claim, Continue
from src.kernel.work.worker import Host
from tests.support.api_bench import START_MS, ApiBench, data, key
from tests.support.invocations import new_worker

CALL_SECONDS = 5
FIRST_CALLS = [{"level": 0, "index": index} for index in range(3)]


class SlowModel:
    """A model whose calls take virtual time."""

    name = "slow"
    default_model = "slow"

    async def infer(self, call: ModelCall) -> ModelReply:
        await asyncio.sleep(CALL_SECONDS)
        return ModelReply("said", 1, 1, "stop")

    async def probe(self) -> Health:
        raise AssertionError("nobody asks")


def shown(bench: ApiBench, task_id: str) -> dict:
    return data(bench.call("GET", f"/api/tasks/{task_id}?include=chunks"))


def test_a_chunk_shows_when_its_call_started_and_ended() -> None:
    bench = ApiBench()
    bench.pass_seconds(3)
    task = bench.submit()
    worker = new_worker(bench.database, provider=SlowModel(), settings=bench.settings)
    bench.run(worker.run(key(task["id"]), Host(Route.QUEUE, 600.0)))
    done = shown(bench, task["id"])
    assert [(chunk["startedAt"], chunk["finishedAt"]) for chunk in done["chunks"]] == [
        (rfc3339(START_MS + 3000), rfc3339(START_MS + 3000 + CALL_SECONDS * 1000))
    ] * 3
    assert done["calls"] == {"announcedAt": rfc3339(START_MS + 3000), "out": [], "inDoubt": []}
    bench.close()


def test_a_task_names_the_calls_that_are_out_and_those_in_doubt(bench: ApiBench) -> None:
    task = bench.submit()
    assert task["calls"] == {"announcedAt": None, "out": [], "inDoubt": []}
    calls = [CallKey(0, index) for index in range(3)]
    bench.work(bench.claim(task["id"]), {}, Continue(180_000), in_flight=calls)
    announced = rfc3339(START_MS)
    assert shown(bench, task["id"])["calls"] == {"announcedAt": announced, "out": FIRST_CALLS, "inDoubt": []}
    bench.pass_seconds(181)
    assert shown(bench, task["id"])["calls"] == {"announcedAt": announced, "out": [], "inDoubt": FIRST_CALLS}
    claim = bench.run(
        bench.store.claim(key(task["id"]), holder="another", host="", route=Route.QUEUE, lease_ms=180_000)
    )
    assert isinstance(claim, Claim)
    bench.work(claim, {}, Continue(180_000), in_flight=calls)
    after = shown(bench, task["id"])
    assert (after["calls"]["out"], after["calls"]["inDoubt"]) == (FIRST_CALLS, FIRST_CALLS)

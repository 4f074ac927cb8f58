"""`maxCost`: no order of ends and deaths brings a task above its cap, and what is left of it is used."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from src.features.cost.gate import CallCosts, has_most
from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelTimeout, ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.prices import Price, written
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.context import Ended, Released
from src.kernel.run.log import Log
from src.kernel.store.claims import CallKey, Money
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

PRICE = Price(10**9, 10**9, 10**9, 1_000)  # A thousand billionths of a dollar a token.
TASK = TaskKey("task")


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(prices={"script-1": PRICE})
    yield made
    made.close()


def most(bench: WorkerBench) -> int:
    """Return what a call of the bench's tasks may cost at most. All their calls send the same number of bytes."""
    probe = new_task("task", 1, Reduce.CONCAT, START_MS)
    call = ModelCall(probe.instructions, probe.text[: probe.cuts[0]], "script-1")
    return PRICE.most(sent_bytes(call), None)


def columns(bench: WorkerBench) -> tuple[int, int, int]:
    (row,) = bench.database.rows("SELECT cost, cost_in_doubt, cost_out FROM tasks")
    return row["cost"], row["cost_in_doubt"], row["cost_out"]


def spending(bench: WorkerBench, cap: int) -> None:
    """Look at the row before each call: what is booked, in doubt and out is at most the cap."""
    infer = bench.model.infer

    async def look(call: ModelCall) -> ModelReply:
        assert sum(columns(bench)) <= cap
        return await infer(call)

    bench.model.infer = look  # type: ignore[method-assign]


@pytest.mark.parametrize("lanes", [False, True])
def test_a_wave_is_as_large_as_the_cap_allows(bench: WorkerBench, *, lanes: bool) -> None:
    """With a cap of three calls at their most, never more than three are out, and the task completes."""
    cap = 3 * most(bench)
    spending(bench, cap)
    bench.insert(12, max_cost=cap)
    assert bench.run(bench.laned_host() if lanes else HOST) == Ended(Status.COMPLETED)
    assert max(len([at for at, _ in bench.model.calls if at == one]) for one, _ in bench.model.calls) == 3
    assert columns(bench) == (12 * PRICE.cost(10, 5), 0, 0)


def test_what_is_left_is_used_and_then_the_task_ends(bench: WorkerBench) -> None:
    """If each call costs its most, a cap of four calls gives four outputs, and then `cost_exhausted`."""
    cap = 4 * most(bench) + 1
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.insert(12, max_cost=cap)
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert task.failure is not None
    assert (task.failure.code, task.completed) == ("cost_exhausted", 4)
    assert columns(bench) == (4 * most(bench), 0, 0)


def test_a_retry_with_a_higher_cap_goes_on(bench: WorkerBench) -> None:
    """A retry without a higher cap is refused. With one, the finished chunks stay, and the rest is made."""
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.insert(6, max_cost=4 * most(bench))
    bench.run()
    for refused in (None, 4 * most(bench)):
        assert bench.do(bench.store.retry(TASK, 1_000, max_cost=refused)) is None
    assert bench.do(bench.store.retry(TASK, 1_000, max_cost=6 * most(bench))) is not None
    assert bench.run() == Ended(Status.COMPLETED)
    assert (len(bench.model.calls), columns(bench)) == (6, (6 * most(bench), 0, 0))


def test_doubt_counts_at_its_most(bench: WorkerBench) -> None:
    """A call without an answer counts against the cap at its most, whether its worker died or it timed out."""
    bench.insert(6, max_cost=5 * most(bench))

    async def die() -> None:
        run = asyncio.ensure_future(bench.worker().run(TASK, HOST))
        await asyncio.sleep(0.5)
        run.cancel()

    bench.do(die())
    assert columns(bench) == (0, 0, 5 * most(bench))
    bench.do(asyncio.sleep(600))
    assert bench.run() == Ended(Status.FAILED)
    assert columns(bench) == (0, 5 * most(bench), 0)
    assert len(bench.model.calls) == 5


def test_the_end_names_the_last_failed_call(bench: WorkerBench) -> None:
    timeout = ModelTimeout("no answer in time")
    bench.model.act = lambda call, number: timeout
    bench.insert(1, max_cost=most(bench))
    assert bench.run() == Ended(Status.FAILED)
    failure = bench.task().failure
    assert failure is not None
    assert failure.message.endswith("; the last call failed with model_timeout: no answer in time")


def test_nothing_stays_reserved(bench: WorkerBench) -> None:
    """Errors of the provider cost nothing: a cap of three answers and one call carries a task through them."""
    bench.model.act = lambda call, number: ModelUnavailable() if number % 3 == 0 else None
    bench.insert(4, max_cost=most(bench) + 3 * PRICE.cost(10, 5))
    while isinstance(bench.run(), Released):
        bench.do(asyncio.sleep(60))
    assert (bench.task().status, columns(bench)[1:]) == (Status.COMPLETED, (0, 0))


def test_a_price_that_is_gone_lets_the_task_wait(bench: WorkerBench) -> None:
    """A task with a cap whose model lost its price makes no call, says why, and goes on when there is one."""
    bench.insert(3, max_cost=9 * most(bench))
    bench.settings = WorkerBench().settings
    outcome = bench.run()
    assert isinstance(outcome, Released)
    waits = bench.task().waiting_for
    assert waits is not None
    assert (waits.reason, len(bench.model.calls)) == ("cost_limit", 0)
    bench.do(asyncio.sleep(outcome.delay_seconds))
    bench.settings = WorkerBench(prices={"script-1": PRICE}).settings
    assert bench.run() == Ended(Status.COMPLETED)


CALL = ModelCall("", "x", "script-1")
MOST = PRICE.most(sent_bytes(CALL), None)


def test_counts_above_the_most_are_booked_whole() -> None:
    """A server that reports more than a call could cost is the one way past a cap. It is logged, and no call starts."""
    lines: list[str] = []
    bill = CallCosts(Money(), {"script-1": PRICE}, 3 * MOST, log=Log(lines.append))
    assert bill.within([CallKey(0, 0)], (), lambda key: CALL) == [CallKey(0, 0)]
    bill.ended(CallKey(0, 0), ModelReply("x", 10**6, 10**6))
    (line,) = map(json.loads, lines)
    assert (line["event"], line["cost"]) == ("cost_above_most", written(PRICE.cost(10**6, 10**6)))
    assert bill.totals(()).booked == PRICE.cost(10**6, 10**6)
    assert bill.within([CallKey(0, 1)], (), lambda key: CALL) == []
    assert bill.failure is not None


def test_calls_that_were_not_announced_after_all_are_forgotten() -> None:
    """A wave that was refused for lack of space reserves nothing for the next one."""
    bill, keys = CallCosts(Money(), {"script-1": PRICE}, 2 * MOST), [CallKey(0, at) for at in range(3)]
    for _ in range(3):
        assert bill.within(keys, (), lambda key: CALL) == keys[:2]
    assert bill.within(keys[2:], keys[:2], lambda key: CALL) == []
    bill.ended(keys[0], ModelTimeout())
    bill.abandoned(keys[1:2])
    assert bill.totals(()) == Money(0, 2 * MOST)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ],
)
def test_content_elsewhere_has_no_most(part: dict[str, Any]) -> None:
    """Content by its URL or id is not in the call, so its bytes say nothing. A data URL is in the call."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "url"}, part]}]}
    assert not has_most(PRICE, 5, body)
    assert has_most(PRICE, 5, {"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,AA"}}]}]})
    assert not has_most(PRICE._replace(max_output=None), None, {})

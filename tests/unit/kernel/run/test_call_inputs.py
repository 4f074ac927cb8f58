"""What a run keeps in memory of its task: texts that its calls still need, and outputs that it is to merge."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from src.kernel.calls.caller import LocalCaller
from src.kernel.calls.model_health import ModelHealth
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Reduce, Route
from src.kernel.run.allowance import Allowance
from src.kernel.run.call_plan import CallPlan
from src.kernel.run.context import ClaimLost, RunContext
from src.kernel.run.ledger import Ledger
from src.kernel.run.log import Log
from src.kernel.run.text_inputs import TEXT, CallInputs
from src.kernel.run.waits import Terms
from src.kernel.run.write_pacer import WritePacer
from src.kernel.store.claims import CallKey, Claim, MergeLevel
from tests.support.invocations import new_worker
from tests.support.store_bench import LEASE_MS, StoreBench, outputs
from tests.support.worker_bench import Script


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def made(claim: Claim, bench: StoreBench, *left_out: CallKey) -> CallInputs:
    context = RunContext(
        claim=claim,
        store=bench.store,
        settings=Settings(lease_seconds=10.0),
        log=Log(lambda line: None),
        route=Route.QUEUE,
        caller=LocalCaller(Script(), 1),
        slack_seconds=0.0,
        model="m",
        default_model="m",
        prompt=None,
        kind=TEXT,
        rules=(),
        terms=Terms(claim, 0.0, 0.0),
        allowance=Allowance(600.0, 900, 900, Meter(), 0.0),
        health=ModelHealth(),
        asked_at=0.0,
        granted_at=0.0,
        start_seconds=2.0,
        hint=None,
        wrote=lambda step: None,
        invocation=new_worker(bench.database, provider=Script(), settings=Settings()),
    )
    ledger = Ledger(claim, 3)
    ledger.leave_out(left_out)
    return CallInputs(context, CallPlan(claim), WritePacer(context), ledger)


def test_texts_are_let_go_when_no_call_needs_them(bench: StoreBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 1)
    bench.insert(chunks=4)
    claim = bench.claim()
    done = set[CallKey]()

    async def story() -> list[list[int]]:
        inputs = made(claim, bench)
        here = []
        for position in (1, 2, 3):
            if position != 2:
                done.add(CallKey(0, position - 1))
            await inputs.read(CallKey(0, position), 1, lambda key: key not in done)
            here.append([place for place in range(4) if inputs.lacks([CallKey(0, place)]) is None])
        return here

    assert bench.run(story()) == [[1], [1, 2], [1, 3]]


def test_a_merge_whose_outputs_are_gone_has_lost_its_claim(bench: StoreBench):
    bench.insert(chunks=4, reduce=Reduce.MERGE)
    done = [CallKey(0, place) for place in range(4)]
    assert bench.step(bench.claim(), outputs=outputs(0, 1, 2, 3), merges=[MergeLevel(1, (2, 4))], completed=4)
    bench.pass_ms(LEASE_MS + 1)
    claim = bench.claim()

    async def story() -> None:
        inputs = made(claim, bench)
        await inputs.read(CallKey(1, 0), 2, lambda key: key not in done)
        assert inputs.lacks([CallKey(1, 0), CallKey(1, 1)]) is None
        inputs = made(claim, bench)
        await bench.store.erase(TaskKey("task"))
        with pytest.raises(ClaimLost):
            await inputs.read(CallKey(1, 0), 2, lambda key: key not in done)

    bench.run(story())


def test_outputs_that_were_read_count_in_the_memory_for_outputs(bench: StoreBench, monkeypatch: pytest.MonkeyPatch):
    """A run that takes over reads what merges need. Further outputs beside them would exceed what an isolate holds."""
    bench.insert(chunks=4, reduce=Reduce.MERGE)
    there = outputs(0, 1)
    monkeypatch.setattr(limits, "OUTPUTS_KEPT_CHARS", sum(len(output.text) for output in there))
    assert bench.step(bench.claim(), outputs=there, merges=[MergeLevel(1, (2, 4))], completed=2)
    bench.pass_ms(LEASE_MS + 1)
    claim = bench.claim()

    async def story() -> None:
        inputs = made(claim, bench)
        await inputs.read(CallKey(1, 0), 1, lambda key: True)
        inputs.recorded_form(CallKey(0, 2), ModelReply("third", 1, 1), 0)
        inputs.recorded_form(CallKey(0, 3), ModelReply("fourth", 1, 1), 0)
        assert inputs.lacks([CallKey(1, 0)]) is None
        assert inputs.lacks([CallKey(1, 1)]) == CallKey(1, 1)

    bench.run(story())


def test_a_gap_counts_as_much_as_the_only_output_of_its_level(bench: StoreBench):
    bench.insert(chunks=2, reduce=Reduce.MERGE)
    (only,) = outputs(0)
    assert bench.step(bench.claim(), outputs=[only], completed=1)
    bench.pass_ms(LEASE_MS + 1)
    claim = bench.claim()

    async def story() -> list[int]:
        return list(await made(claim, bench, CallKey(0, 1)).sizes(partial(asyncio.sleep, 0)))

    assert bench.run(story()) == [len(only.text)] * 2

"""What a run holds of its task: the texts that its calls still need, and the outputs that they merge."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from src.core import limits
from src.core.ids import TaskKey
from src.core.pace import Latency
from src.core.task import Reduce
from src.inference.protocol import ModelCall
from src.processing.log import Log
from src.processing.outcomes import ClaimLost
from src.processing.run.call_inputs import Material
from src.processing.run.call_plan import Plan
from src.processing.run.write_pacer import Pace
from src.store.claims import CallKey, Claim, MergeLevel
from tests.support.store_bench import LEASE_MS, StoreBench, outputs


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    """A store."""
    made = StoreBench()
    yield made
    made.database.close()


def made(claim: Claim, bench: StoreBench) -> Material:
    """Begin a run's."""
    log = Log(lambda line: None)
    pace = Pace(claim, Latency(), lease_seconds=10, window=2, laned=False, log=log)
    return Material(claim, Plan(claim), partial(ModelCall, model="m"), bench.store, pace, partial(asyncio.sleep, 0))


def test_texts_are_let_go_when_no_call_needs_them(bench: StoreBench, monkeypatch: pytest.MonkeyPatch):
    """A run holds the texts of calls that have no output yet, and not those of a whole input that it has read."""
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 1)
    bench.insert(chunks=4)
    claim = bench.claim()
    done = set[CallKey]()

    async def story() -> list[list[int]]:
        material = made(claim, bench)
        here = []
        for position in (1, 2, 3):
            if position != 2:
                done.add(CallKey(0, position - 1))
            await material.read(CallKey(0, position), 1, lambda key: key not in done)
            here.append([place for place in range(4) if material.lacks([CallKey(0, place)]) is None])
        return here

    assert bench.run(story()) == [[1], [1, 2], [1, 3]]


def test_a_merge_whose_outputs_are_gone_has_lost_its_claim(bench: StoreBench):
    """Its task was erased meanwhile: nothing is merged of what is left, and nobody asks for the rest again."""
    bench.insert(chunks=4, reduce=Reduce.MERGE)
    done = [CallKey(0, place) for place in range(4)]
    assert bench.step(bench.claim(), outputs=outputs(0, 1, 2, 3), merges=[MergeLevel(1, (2, 4))], completed=4)
    bench.pass_ms(LEASE_MS + 1)
    claim = bench.claim()

    async def story() -> None:
        material = made(claim, bench)
        await material.read(CallKey(1, 0), 2, lambda key: key not in done)
        assert material.lacks([CallKey(1, 0), CallKey(1, 1)]) is None
        material = made(claim, bench)
        await bench.store.erase(TaskKey("task"))
        with pytest.raises(ClaimLost):
            await material.read(CallKey(1, 0), 2, lambda key: key not in done)

    bench.run(story())

"""The model's state, asked once for many requests, and figures for metrics and plots."""

import asyncio
from collections.abc import Iterator

import pytest

from simulator.engine.loop import Loop
from src.features.demo.demo import DemoProvider
from src.features.operate.checks import ModelCheck, probe
from src.features.operate.tallies import HISTORY, SAMPLES, quantile_ms
from src.kernel.calls.protocol import Health
from src.kernel.domain import limits
from src.kernel.store.tallies import BOUNDS_MS, MEASURES
from tests.unit.kernel.store.test_boundaries import AROUND, NOW, Table


class Probed(DemoProvider):
    """A provider that counts the probes of its model. A probe takes a while, and may raise an error or never end."""

    def __init__(self) -> None:
        self.probes = 0
        self.seconds = 1.0
        self.error: Exception | None = None

    async def probe(self) -> Health:
        self.probes += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Health("healthy", f"probe {self.probes}")


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(max_steps=1_000_000)  # type: ignore[abstract]
    yield made
    made.close()


def test_one_probe_serves_all_for_a_while(loop: Loop) -> None:
    provider, check = Probed(), ModelCheck()

    async def ask() -> list[str]:
        found = await asyncio.gather(*(check.read(lambda: probe(provider, lambda: 7)) for _ in range(100)))
        assert {checked.at_ms for checked in found} == {7}
        return [checked.health.detail for checked in found]

    async def story() -> None:
        assert set(await ask()) == {"probe 1"}
        await asyncio.sleep(limits.MODEL_CHECK_SECONDS - 1.2)
        assert set(await ask()) == {"probe 1"}
        await asyncio.sleep(1.2)
        assert set(await ask()) == {"probe 2"}

    loop.run_until_complete(story())
    assert provider.probes == 2


def test_a_probe_that_dies_holds_nobody_up_for_long(loop: Loop) -> None:
    provider, check = Probed(), ModelCheck()

    async def story() -> None:
        provider.seconds = 1e9
        lost = asyncio.ensure_future(check.read(lambda: probe(provider, lambda: 0)))
        await asyncio.sleep(1)
        provider.seconds = 1.0
        began = asyncio.get_running_loop().time()
        assert (await check.read(lambda: probe(provider, lambda: 0))).health.detail == "probe 2"
        assert asyncio.get_running_loop().time() - began < limits.MODEL_CHECK_SECONDS + 2
        lost.cancel()
        await asyncio.sleep(limits.MODEL_CHECK_SECONDS)
        provider.error = KeyError("mistake")
        with pytest.raises(KeyError):
            await check.read(lambda: probe(provider, lambda: 0))
        provider.error = None
        assert (await check.read(lambda: probe(provider, lambda: 0))).health.detail == "probe 4"

    loop.run_until_complete(story())


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.database.close()


@AROUND
def test_a_history_begins_after_its_first_millisecond(table: Table, off: int) -> None:
    table.write("tallies", at=NOW - 60_000 + off, status="completed", route="queue", ended=3)
    table.write("samples", at=NOW - 60_000 + off, pending=0, processing=0, oldest_ms=0)
    assert len(table.ask(HISTORY, back_ms=60_000)) == (off > 0)
    assert len(table.ask(SAMPLES, back_ms=60_000)) == (off > 0)


def test_quantiles() -> None:
    """A quantile lies between the bounds of the bucket that contains it."""
    nothing = dict.fromkeys(MEASURES, 0)
    assert quantile_ms(nothing, "took", 0.5) is None
    ten = nothing | {"took": 10, "took_le_500": 5} | {f"took_le_{bound}": 10 for bound in BOUNDS_MS[1:]}
    assert quantile_ms(ten, "took", 0.5) == 500
    assert quantile_ms(ten, "took", 0.9) == 500 + 1_500 * 4 // 5
    assert quantile_ms(nothing | {"took": 2}, "took", 0.95) == BOUNDS_MS[-1]

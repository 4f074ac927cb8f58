"""Waits end under the hosted clock, with Pyodide's event loop and with onceover's timers.

The hosted clock moves only when timers fire, and may be a little short of a timer's time.
"""

from collections.abc import Callable, Iterator

import pytest

from src.core.task import Mark
from src.inference.protocol import ModelCall
from src.objects.audience import Audience
from src.processing import clock
from src.processing.caller import LocalCaller
from src.processing.outcomes import Ended
from src.processing.run.call_groups import CallGroups
from src.store.records.claims import CallKey
from tests.api.test_events import Stream
from tests.api.test_listening import Scene
from tests.support import api_bench, worker_bench
from tests.support.hosted_loop import HAIR_SECONDS, HostedLoop
from tests.support.worker_bench import Script, WorkerBench

# The times in this list are no whole milliseconds, like those of `?wait=1.2342` and of measurements.
ODD = (1.2342, 0.0017, 0.9999999, 2.0501, 0.00031)
LATE = 0.006

LoopMaker = Callable[..., HostedLoop]


@pytest.fixture(params=["stock", "stock, a hair early", "ours", "ours, a hair early"])
def make_loop(request: pytest.FixtureRequest) -> LoopMaker:
    """Make event loops of each kind, which stop code that takes more steps than any of these tests needs."""
    stock, hair_seconds = request.param.startswith("stock"), HAIR_SECONDS if "hair" in request.param else 0.0
    return lambda **_options: HostedLoop(stock=stock, hair_seconds=hair_seconds)  # type: ignore[abstract]


@pytest.fixture
def loop(make_loop: LoopMaker) -> Iterator[HostedLoop]:
    """Make an event loop of each kind, and close it after the test."""
    made = make_loop()
    yield made
    made.close()


def calls_of(*seconds: float) -> CallGroups:
    """Start calls that take the given times, in this order."""
    model = Script()
    model.seconds = lambda number: seconds[number - 1]
    return CallGroups(LocalCaller(model, 6), lambda _key: ModelCall("", "", ""), 100.0)


@pytest.mark.parametrize("seconds", ODD)
@pytest.mark.parametrize("waits_with", ["nothing", "a hint", "calls out"])
def test_a_run_comes_to_the_moment_that_it_waits_for(loop: HostedLoop, seconds: float, waits_with: str):
    """A run that waits for a moment goes on once the clock shows it, since each wait moves the clock."""

    async def wait() -> None:
        calls, until = calls_of(50.0), clock.now() + seconds
        if waits_with == "calls out":
            calls.start([CallKey(0, 0)], 100.0)
        while clock.now() < until:
            await calls.wait(until, loop.create_future() if waits_with == "a hint" else None)

    loop.run_until_complete(wait())
    assert loop.time() == pytest.approx(seconds, abs=LATE)


@pytest.mark.parametrize("seconds", ODD)
def test_calls_wait_for_company_no_longer_than_they_may(loop: HostedLoop, seconds: float):
    """In this test one of two calls has ended, and the other takes long."""

    async def wait() -> int:
        calls = calls_of(seconds, 50.0)
        calls.start([CallKey(0, 0), CallKey(0, 1)], 100.0)
        return len(await calls.wait(40.0))

    assert loop.run_until_complete(wait()) == 1
    assert loop.time() == pytest.approx(1.2 * seconds, abs=LATE)


@pytest.mark.parametrize("seconds", ODD)
def test_an_object_holds_its_callers_as_long_as_they_ask(loop: HostedLoop, seconds: float):
    """Without a notice an object holds a caller for the `seconds` that the caller asked for."""
    audience = Audience(lambda: True)
    assert loop.run_until_complete(audience.hear(Mark(1, 1), 0.0, seconds)) is False
    assert loop.time() == pytest.approx(seconds, abs=LATE)
    audience.tell(Mark(1, 2), False)
    assert loop.run_until_complete(audience.hear(Mark(1, 1), seconds, 50.0)) is True
    assert loop.time() == pytest.approx(2 * seconds, abs=2 * LATE)


@pytest.mark.parametrize("seconds", ODD)
@pytest.mark.parametrize("near", ["nobody", "object", "isolate"])
def test_a_request_waits_as_long_as_it_asks(
    make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch, near: str, seconds: float
):
    """A request with an odd `wait`, such as 1.2342, is answered on time, whatever its source of notices is."""
    monkeypatch.setattr(api_bench, "Loop", make_loop)
    scene = Scene(near, seconds=60.0)
    assert scene.wait((0.0, scene.work), seconds=round(seconds, 4))["status"] in {"pending", "processing"}
    assert scene.bench.loop.time() == pytest.approx(seconds, abs=2 * LATE)
    scene.bench.close()


def test_a_stream_has_its_comments(make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch):
    """A stream sends its comments on time, whether their moment comes during a read or between reads."""
    monkeypatch.setattr(api_bench, "Loop", make_loop)
    scene = Scene("nobody", seconds=60.0)
    scene.bench.pass_seconds(0.0013)
    stream = Stream(scene.bench, scene.task)
    scene.bench.pass_seconds(30.0)
    assert sum(part.startswith(":") for _, part in stream.came) >= 4
    scene.bench.close()


def test_a_task_of_odd_calls_ends(make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch):
    """A task whose calls take odd times ends."""
    monkeypatch.setattr(worker_bench, "Loop", make_loop)
    bench = WorkerBench()
    bench.model.seconds = lambda number: ODD[number % len(ODD)] + 0.00021 * number
    bench.insert(24)
    assert isinstance(bench.run(), Ended)
    bench.close()

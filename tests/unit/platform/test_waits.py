"""Waits end under the hosted clock, with Pyodide's event loop and with onceover's timers."""

from collections.abc import Callable, Iterator

import pytest

from src.kernel.run.context import Ended
from tests.api.test_events import Stream
from tests.api.test_listening import Scene
from tests.support import api_bench, worker_bench
from tests.support.hosted_loop import HAIR_SECONDS, HostedLoop
from tests.support.worker_bench import WorkerBench

# The times in this list are no whole milliseconds, like those of `?wait=1.2342` and of measurements.
ODD = (1.2342, 0.0017, 0.9999999, 2.0501, 0.00031)
LATE = 0.006

LoopMaker = Callable[..., HostedLoop]


@pytest.fixture(params=["stock", "stock, a hair early", "ours", "ours, a hair early"])
def make_loop(request: pytest.FixtureRequest) -> LoopMaker:
    stock, hair_seconds = request.param.startswith("stock"), HAIR_SECONDS if "hair" in request.param else 0.0
    return lambda **_options: HostedLoop(stock=stock, hair_seconds=hair_seconds)  # type: ignore[abstract]


@pytest.fixture
def loop(make_loop: LoopMaker) -> Iterator[HostedLoop]:
    made = make_loop()
    yield made
    made.close()


@pytest.mark.parametrize("seconds", ODD)
@pytest.mark.parametrize("near", ["nobody", "object", "isolate"])
def test_a_request_waits_as_long_as_it_asks(
    make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch, near: str, seconds: float
):
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
    monkeypatch.setattr(worker_bench, "Loop", make_loop)
    bench = WorkerBench()
    bench.model.seconds = lambda number: ODD[number % len(ODD)] + 0.00021 * number
    bench.insert(24)
    assert isinstance(bench.run(), Ended)
    bench.close()

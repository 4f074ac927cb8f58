"""A run's groups of calls, with and without lanes: their order, their times, silent and lost groups, an early end."""

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.calls import wire
from src.kernel.calls.caller import CallOutcome, LocalCaller, ModelCaller, Silence
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.errors import (
    CallAborted,
    CallerLost,
    CallNotStarted,
    ModelError,
    ModelRateLimited,
    ModelTimeout,
    ModelUnavailable,
)
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Kind
from src.kernel.run.call_groups import CallGroups, EndedCall
from src.kernel.run.log import Log
from src.kernel.store.claims import CallKey, Claim
from src.objects.laned_caller import LanedCaller, lanes_for
from src.objects.stubs import CALLS_KNOWN
from tests.unit.kernel.run.test_ledger import claim

SECONDS = 10.0
SLACK = limits.LANE_SLACK_SECONDS
KEYS = [CallKey(0, position) for position in range(20)]
NEVER = 1e6


class Model:
    """Calls take `seconds` and do what `act` says. `started` and `ended` list texts, in order."""

    name = default_model = "model"

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.act: Callable[[str], ModelError | Exception | None] = lambda text: None
        self.cancelled_seconds = 0.0
        self.started: list[str] = []
        self.ended: list[str] = []

    async def infer(self, call: ModelCall) -> ModelReply:
        self.started.append(call.user)
        try:
            await asyncio.sleep(self.seconds.get(call.user, 1.0))
        except asyncio.CancelledError:
            await asyncio.sleep(self.cancelled_seconds)
            raise
        finally:
            self.ended.append(call.user)
        if (error := self.act(call.user)) is not None:
            raise error
        return ModelReply(f"<{call.user}>", 1, 1)

    async def probe(self) -> Health:
        return Health("healthy", "")


class Coordinator:
    """Makes each group's calls together. `groups` are their sizes.

    The coordinator of this bench answers each group of calls `deaf_seconds` late. `breaks` is the error of its RPC,
    `answers` replaces the calls' results, and `starts_by` is the time until which a lane may start calls. `patience` is
    the time for a group's answer that the coordinator was last given.
    """

    def __init__(self, model: Model) -> None:
        self.groups: list[int] = []
        self.deaf_seconds = 0.0
        self.breaks: Exception | None = None
        self.answers: list[Wire] | None = None
        self.starts_by = math.inf
        self.patience = 0.0
        self.aborted: list[int] = []  # The fences of the claims whose calls were to be aborted.
        self.signs = 0  # The number of pings that reached the coordinator.
        self.unreachable: Exception | None = None  # The error that each ping to the coordinator raises, or None.
        self.hangs = False
        self.sign_seconds = 0.0
        self.known: object = CALLS_KNOWN  # None for code that knows no lines of batches.
        self._model = model

    async def reach(self) -> object:
        self.signs += 1
        await asyncio.sleep(NEVER if self.hangs else self.sign_seconds)
        if self.unreachable is not None:
            raise self.unreachable
        return self.known

    async def infer(self, task_key: str, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        self.groups.append(len(calls))
        self.patience = seconds
        await asyncio.sleep(self.deaf_seconds)
        if self.breaks is not None:
            raise self.breaks
        if self.answers is not None:
            return self.answers
        lane = LocalCaller(self._model, len(calls))
        made = await asyncio.gather(*(lane.call([wire.read_call(call)], seconds, self.starts_by) for call in calls))
        return [wire.write_outcome(outcome) for (outcome,) in made]

    async def abort(self, task_key: str, fence: int) -> None:
        self.aborted.append(fence)
        if self.breaks is not None:
            raise self.breaks

    async def close(self, fence: int) -> None:
        """Do nothing, since the coordinator of this bench stores nothing."""


class CallBench:
    """A model and its caller: the worker itself with six calls at a time, or three lanes of six calls each."""

    def __init__(self, *, laned: bool, kind: Kind | None = None) -> None:
        self.loop = Loop()  # type: ignore[abstract]
        self.model = Model()
        self.coordinator = Coordinator(self.model)
        self.lines: list[str] = []
        self.meter = Meter()
        self.caller: ModelCaller = LocalCaller(self.model, 6)
        if laned:
            of: Claim = replace(claim(), kind=kind)
            log = Log(self.lines.append)
            self.caller = LanedCaller(self.coordinator, of, self.model, self.meter, lanes=3, group_size=6, log=log)
        self.calls = CallGroups(self.caller, lambda key: ModelCall("", str(key.position), ""), SECONDS)

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def start(self, keys: list[CallKey], starts_by: float | None = None) -> int:
        async def start() -> int:
            return self.calls.start(keys, self.soon if starts_by is None else starts_by)

        return self.do(start())

    def wait(self, until: float = math.inf) -> list[EndedCall]:
        return self.do(self.calls.wait(until))

    def sleep(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    def call(self, count: int, starts_by: float | None = None) -> list[CallOutcome]:
        calls = [ModelCall("", str(position), "") for position in range(count)]
        return list(self.do(self.caller.call(calls, SECONDS, self.soon if starts_by is None else starts_by)))

    @property
    def soon(self) -> float:
        return self.loop.time() + limits.START_SECONDS

    @property
    def room(self) -> tuple[int, int]:
        return self.calls.groups_out, self.calls.free


@pytest.fixture
def local() -> Iterator[CallBench]:
    bench = CallBench(laned=False)
    yield bench
    bench.loop.close()


@pytest.fixture
def laned() -> Iterator[CallBench]:
    bench = CallBench(laned=True)
    yield bench
    bench.loop.close()


@pytest.fixture(params=[False, True], ids=["local", "laned"])
def bench(request: pytest.FixtureRequest) -> Iterator[CallBench]:
    made = CallBench(laned=request.param)
    yield made
    made.loop.close()


def ended(finished: list[EndedCall]) -> list[int]:
    return [call.key.position for call in finished]


def kinds(outcomes: list[CallOutcome]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


@pytest.mark.parametrize(("kind", "known", "by_lanes"), [
    (Kind.BATCH, None, False), (Kind.BATCH, 1, False), (Kind.BATCH, CALLS_KNOWN, True), (None, None, True)
])  # fmt: skip
def test_lines_go_only_to_a_coordinator_that_knows_them(kind: Kind | None, known: object, by_lanes: bool) -> None:
    """The worker makes the calls of a batch itself while the coordinator has code of an earlier release."""
    made = CallBench(laned=True, kind=kind)
    made.coordinator.known = known
    assert kinds(made.call(3)) == [ModelReply if by_lanes else CallNotStarted] * 3
    assert kinds(made.call(1)) == [ModelReply]
    assert made.coordinator.groups == ([3, 1] if by_lanes else [])
    assert len(made.model.ended) == (4 if by_lanes else 1)
    made.loop.close()


def test_a_group_is_one_call_or_a_lanes(local: CallBench, laned: CallBench):
    assert local.start(KEYS[:6]) == 6
    assert laned.start(KEYS[:7]) == 2
    assert (local.room, laned.room) == ((6, 0), (2, 6))
    laned.wait()
    assert laned.coordinator.groups == [6, 1]


def test_calls_come_back_in_their_order_however_they_end(bench: CallBench):
    bench.model.seconds = {str(position): 1.0 - position / 1000 for position in range(6)}
    bench.start(KEYS[5::-1])
    finished = bench.wait()
    assert ended(finished) == [0, 1, 2, 3, 4, 5]
    assert [call.result for call in finished] == [ModelReply(f"<{position}>", 1, 1) for position in range(6)]
    assert bench.model.ended == ["5", "4", "3", "2", "1", "0"]
    assert bench.wait(3.0) == []
    assert bench.loop.time() == 3.0


def test_outcomes_stand_in_the_order_of_their_calls(laned: CallBench):
    errors = {"1": ModelUnavailable("503"), "2": ModelRateLimited("429", 7.0)}
    laned.model.act = errors.get
    laned.model.seconds = {"0": 3.0, "1": 2.0}
    first, second, third = laned.call(3)
    assert first == ModelReply("<0>", 1, 1)
    assert isinstance(second, ModelUnavailable)
    assert isinstance(third, ModelRateLimited)
    assert third.delay_seconds == 7.0


def test_a_call_of_its_own_comes_back_alone(local: CallBench):
    local.model.seconds = {"0": 1.0, "1": 1.15, "2": 1.4, "3": 9.0}
    local.start(KEYS[:4])
    assert ended(local.wait()) == [0, 1]
    assert local.loop.time() == pytest.approx(1.0 + 1.15 / 5)
    assert (local.room, ended(local.wait())) == ((2, 4), [2])
    assert local.wait(2.0) == []
    assert (ended(local.wait()), local.loop.time()) == ([3], 9.0)


@pytest.mark.parametrize(
    ("seconds", "last", "waits"),
    [
        (2.0, False, 0.4),
        (4.9, False, limits.LINGER_SECONDS_QUICK),
        (5.0, False, 1.0),
        (0.1, True, 0.1),
        (4.9, True, limits.LINGER_SECONDS_QUICK),
        (5.0, True, limits.LINGER_SECONDS_MOST),
    ],
)
def test_how_long_a_call_waits_for_company(local: CallBench, seconds: float, last: bool, waits: float):
    """A fifth of its own duration, or all of it if no other call could start."""
    local.model.seconds = {"0": seconds, "1": NEVER}
    local.start(KEYS[:2])
    finished = local.do(local.calls.wait(math.inf, last=last))
    assert ended(finished) == [0]
    assert local.loop.time() == pytest.approx(seconds + waits)


def test_one_slow_call_of_a_run_says_that_its_calls_are_slow(local: CallBench):
    local.model.seconds = {"0": 5.0, "1": 4.0, "2": NEVER}
    local.start(KEYS[:1])
    local.wait()
    local.start(KEYS[1:3])
    assert ended(local.wait()) == [1]
    assert local.loop.time() == pytest.approx(5.0 + 4.0 * 1.2)


def test_a_failure_is_not_held_for_company(local: CallBench):
    """A failed call is recorded at once and does not wait for others, since it may be due again."""
    local.model.seconds = {"0": 6.0, "1": 7.5, "2": NEVER}
    local.model.act = {"1": ModelUnavailable("503")}.get
    local.start(KEYS[:3])
    assert ended(local.do(local.calls.wait(math.inf, last=True))) == [0, 1]
    assert local.loop.time() == pytest.approx(7.5)


def test_a_hint_and_the_deadline_end_the_wait_for_company(local: CallBench):
    local.model.seconds = {"0": 5.0, "1": 4.0, "2": NEVER}
    local.start([KEYS[0], KEYS[2]])

    async def hinted() -> list[EndedCall]:
        hint = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(5.3, hint.set_result, None)
        return await local.calls.wait(math.inf, hint, last=True)

    assert ended(local.do(hinted())) == [0]
    assert local.loop.time() == pytest.approx(5.3)
    local.start(KEYS[1:2])
    finished = local.do(local.calls.wait(math.inf, last=True, deadline=9.6))
    assert ended(finished) == [1]
    assert local.loop.time() == pytest.approx(9.6)


def test_an_error_that_is_no_models_surfaces(bench: CallBench, monkeypatch: pytest.MonkeyPatch):
    bench.model.act = lambda text: ValueError("a mistake") if text in {"0", "1"} else None
    bench.start(KEYS[:3])
    if isinstance(bench.caller, LanedCaller):
        assert kinds([call.result for call in bench.wait()]) == [CallerLost] * 3
    else:
        with pytest.raises(ValueError, match="a mistake"):
            bench.wait()
        bench.do(bench.calls.drop())
    assert bench.loop.unhandled == []


def test_a_call_ends_at_its_timeout(bench: CallBench):
    bench.model.seconds = {"0": NEVER}
    bench.start(KEYS[:2])
    finished = bench.wait()
    if len(finished) == 1:  # without lanes the calls come back one after the other
        finished = [*bench.wait(), *finished]
    assert kinds([call.result for call in finished]) == [ModelTimeout, ModelReply]
    assert str(finished[0].result) == "no reply from the model within 10 s"
    assert bench.loop.time() == SECONDS
    assert bench.room == (0, bench.caller.groups_most * bench.caller.group_size)


def test_what_is_too_late_is_not_started(local: CallBench):
    assert kinds(local.call(1, starts_by=0.0)) == [CallNotStarted]
    assert kinds(local.call(1, starts_by=0.1)) == [ModelReply]
    local.start(KEYS[1:2], starts_by=1.0)
    assert kinds([call.result for call in local.wait()]) == [CallNotStarted]
    assert local.model.started == ["0"]


def test_a_group_is_out_until_its_last_call_has_ended(laned: CallBench):
    """Else thirty connections would wait for thirty lanes with one unfinished call."""
    laned.model.seconds = {str(position): 2.0 for position in range(5)} | {"5": 8.0, "6": 4.0, "8": 5.0}
    assert laned.room == (0, 18)
    assert laned.start(KEYS[:8]) == 2
    assert laned.room == (2, 6)
    assert laned.wait(3.0) == []
    assert sorted(laned.model.ended) == ["0", "1", "2", "3", "4", "7"]
    assert laned.room == (2, 6)
    assert laned.start(KEYS[8:9]) == 1
    assert laned.room == (3, 0)
    assert (ended(laned.wait()), laned.room) == ([6, 7], (2, 6))
    assert (ended(laned.wait()), laned.room) == ([0, 1, 2, 3, 4, 5, 8], (0, 18))
    assert laned.coordinator.groups == [6, 2, 1]


def test_a_group_that_gave_no_answer_stays_out(laned: CallBench):
    """A silent group occupies its lane after the run gave it up: the connection may be in use."""
    laned.coordinator.deaf_seconds = 100
    laned.start(KEYS[:6])
    finished = laned.wait()
    assert kinds([call.result for call in finished]) == [Silence] * 6
    assert [call.seconds for call in finished] == [SECONDS + SLACK] * 6
    assert laned.room == (1, 12)
    laned.coordinator.deaf_seconds = 0
    for _ in range(2):
        laned.start(KEYS[1:6])
        assert laned.room == (2, 6)
        assert ended(laned.wait()) == [1, 2, 3, 4, 5]
        assert laned.room == (1, 12)
    laned.sleep(200)
    assert (len(laned.model.ended), laned.room) == (5 + 5 + 6, (1, 12))


def test_a_lost_lane_is_a_lost_connection_of_each_call(laned: CallBench):
    laned.coordinator.breaks = RuntimeError("Network connection lost.")
    laned.start(KEYS[:8])
    assert kinds([call.result for call in laned.wait()]) == [CallerLost] * 8
    assert laned.room == (0, 18)
    assert [line for line in laned.lines if '"event":"lane_lost"' in line and '"calls":6' in line]
    laned.coordinator.breaks = None
    laned.start(KEYS[:8])
    assert kinds([call.result for call in laned.wait()]) == [ModelReply] * 8


@pytest.mark.parametrize("answers", [[{"output": "x", "inputTokens": 1, "outputTokens": 1}], [{}, {}]])
def test_an_answer_that_does_not_fit_is_a_lost_lane(laned: CallBench, answers: list[Wire]):
    laned.coordinator.answers = answers
    assert kinds(laned.call(2)) == [CallerLost] * 2


def test_what_is_dropped_has_ended(local: CallBench):
    local.model.seconds = dict.fromkeys("012", NEVER)
    local.start(KEYS[:4])
    local.sleep(2)
    assert local.model.ended == ["3"]
    # The run has not recorded the last call yet, but this call has ended and is paid for.
    assert ended(local.do(local.calls.drop())) == [3]
    assert sorted(local.model.ended) == ["0", "1", "2", "3"]
    assert (local.room, local.loop.time()) == ((0, 6), 2.0)
    assert local.do(local.calls.drop()) == []


def test_what_has_ended_is_taken_in_without_waiting(laned: CallBench):
    laned.model.seconds = {"1": 9.0, "7": 3.0}
    laned.start(KEYS[:8])
    laned.start(KEYS[8:10])
    laned.sleep(2)
    assert ended(laned.do(laned.calls.remaining())) == list(range(10))
    assert (laned.loop.time(), laned.room) == (9.0, (0, 18))
    assert laned.calls.ended() == laned.do(laned.calls.remaining()) == []
    laned.start(KEYS[:8])
    laned.sleep(4)
    assert (ended(laned.calls.ended()), laned.room) == ([6, 7], (1, 12))


def test_a_call_that_will_not_end_holds_up_nobody(local: CallBench):
    local.model.cancelled_seconds = 50
    local.model.seconds = dict.fromkeys("01", NEVER)
    local.start(KEYS[:2])
    local.sleep(2)
    local.do(local.calls.drop())
    assert local.loop.time() == 2.0 + limits.DROP_SECONDS_MOST


@pytest.mark.parametrize("hangs", [False, True])
def test_where_no_lane_can_be_reached_the_worker_makes_the_calls(laned: CallBench, hangs: bool):
    laned.coordinator.unreachable = RuntimeError("NoGilError")
    laned.coordinator.hangs = hangs
    laned.start(KEYS[:12])
    assert kinds([call.result for call in laned.wait()]) == [CallNotStarted] * 12
    assert laned.loop.time() == (SLACK if hangs else 0)
    assert (laned.room, laned.caller.group_size) == ((0, 6), 1)
    assert laned.start(KEYS[:6]) == 6
    assert kinds([call.result for call in laned.do(laned.calls.remaining())]) == [ModelReply] * 6
    assert (laned.coordinator.groups, laned.coordinator.signs) == ([], 1)
    assert [line for line in laned.lines if '"event":"lanes_unreachable"' in line]


def test_after_a_lost_group_a_sign_of_life_is_asked_for_again(laned: CallBench):
    laned.coordinator.breaks = RuntimeError("Network connection lost.")
    assert kinds(laned.call(6)) == [CallerLost] * 6
    laned.coordinator.unreachable = laned.coordinator.breaks
    assert kinds(laned.call(6)) == [CallNotStarted] * 6
    assert kinds(laned.call(1)) == [ModelReply]
    assert (laned.coordinator.groups, laned.coordinator.signs) == ([6], 2)


def test_calls_of_the_worker_s_own_are_dropped_and_aborted(laned: CallBench):
    laned.coordinator.unreachable = RuntimeError("NoGilError")
    laned.call(2)
    laned.model.seconds = {"0": NEVER, "1": NEVER}
    laned.start(KEYS[:1])
    laned.sleep(1)
    assert laned.do(laned.calls.drop()) == []
    assert (laned.model.ended, laned.room) == (["0"], (0, 6))
    laned.start(KEYS[1:2])
    laned.sleep(1)
    laned.do(laned.caller.abort())
    assert kinds([call.result for call in laned.wait()]) == [CallAborted]
    assert laned.coordinator.aborted == []
    assert laned.loop.time() == 2


def test_lanes_that_are_still_out_are_told_by_a_worker_that_goes_on_alone(laned: CallBench):
    """One group is out, another was lost, and so was the ping after it."""
    laned.coordinator.deaf_seconds = 20
    laned.start(KEYS[:6])
    laned.sleep(1)
    laned.coordinator.unreachable = RuntimeError("NoGilError")
    laned.coordinator.breaks = RuntimeError("Network connection lost.")
    laned.coordinator.deaf_seconds = 0
    laned.do(laned.caller.call([ModelCall("", "9", "")], SECONDS, laned.soon))
    laned.do(laned.caller.call([ModelCall("", "9", "")], SECONDS, laned.soon))
    assert laned.caller.group_size == 1
    laned.do(laned.caller.abort())
    assert laned.coordinator.aborted == [1]


def test_a_task_has_lanes_from_a_size_on():
    """A task has at least two lanes or none, since a single lane would be useless."""
    assert lanes_for(limits.LANES_FROM_CHUNKS - 1) == 1
    assert lanes_for(limits.LANES_FROM_CHUNKS) == 2
    assert lanes_for(limits.LANES_FROM_CHUNKS + limits.LANE_CHUNKS) == 3
    assert lanes_for(limits.CHUNKS_MOST) == limits.LANES_MOST

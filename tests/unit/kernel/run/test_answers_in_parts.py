"""Groups of calls that a lane answers in parts, and what an invocation may spend beside them."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from simulator.engine.loop import Loop
from src.kernel.calls.caller import CallOutcome, HeldCall
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.meter import Meter
from src.kernel.run.allowance import Allowance
from src.kernel.run.call_groups import CallGroups, EndedCall
from src.kernel.run.context import ClaimLost
from tests.unit.kernel.run.test_call_groups import KEYS, NEVER, SECONDS, ended


class PartLane:
    """A lane that answers for its first call after a second, and for the others when it is asked a second time."""

    group_size, groups_most, slack_seconds = 3, 1, limits.LANE_SLACK_SECONDS

    def __init__(self) -> None:
        self.asked: list[tuple[float, int, bool]] = []  # When calls came, how many, and whether in parts.

    async def call(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, starts_by: float, *, in_parts: bool = False
    ) -> list[CallOutcome | HeldCall]:
        self.asked.append((asyncio.get_running_loop().time(), len(calls), in_parts))
        await asyncio.sleep(1.0 if in_parts else 5.0)
        reply = ModelReply("output", 1, 1)
        return [HeldCall(0, number) if in_parts and number else reply for number in range(len(calls))]

    async def abort(self) -> None:
        """Leave the calls alone."""


class Held:
    """A run whose calls are answered in part, and which then does work that takes `seconds`."""

    def __init__(self) -> None:
        self.loop = Loop()  # type: ignore[abstract]
        self.lane = PartLane()
        self.calls = CallGroups(self.lane, lambda key: ModelCall("", str(key.position), ""), SECONDS)
        self.found: list[EndedCall] = []

    async def work(self, seconds: float, error: Exception | None = None) -> int:
        async def slow() -> None:
            await asyncio.sleep(seconds)
            if error is not None:
                raise error

        self.calls.start(KEYS[:3], NEVER, in_parts=True)
        return await self.calls.beside(slow())

    async def remaining(self) -> list[int]:
        return ended(await self.calls.remaining())


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.loop.close()


def test_calls_that_go_on_are_waited_for_while_the_run_does_long_work(held: Held):
    sent = held.loop.run_until_complete(held.work(20.0))
    assert (sent, held.lane.asked) == (1, [(0.0, 3, True), (limits.UNHEARD_SECONDS_MOST, 2, False)])
    assert held.calls.free == 0  # The first answer and the second are still to be taken.
    assert held.loop.run_until_complete(held.remaining()) == [0, 1, 2]
    assert held.calls.free == 3


def test_quick_work_sends_no_group_again(held: Held):
    """After short work the run itself sends the rest again, with new calls for the free places."""
    assert held.loop.run_until_complete(held.work(1.5)) == 0
    assert len(held.lane.asked) == 1


@pytest.mark.parametrize("seconds", [0.5, 20.0])
def test_an_error_of_the_work_surfaces_and_loses_no_answer(held: Held, seconds: float):
    with pytest.raises(ClaimLost):
        held.loop.run_until_complete(held.work(seconds, ClaimLost()))
    assert held.loop.run_until_complete(held.remaining()) == [0, 1, 2]


@pytest.mark.parametrize(("group_size", "free"), [(3, 3 + 1), (2, 2 + 0), (1, 1 + 0)])
def test_a_run_whose_groups_become_smaller_starts_no_call_beside_calls_that_fill_a_group(
    held: Held, group_size: int, free: int
) -> None:
    """It makes its own calls in the places left beside a lane's two of three."""
    assert held.loop.run_until_complete(held.work(1.5)) == 0
    assert ended(held.calls.ended()) == [0]
    held.lane.group_size, held.lane.groups_most = group_size, 2
    assert held.calls.free == free

    async def fill() -> int:
        return held.calls.start(KEYS[3 : 3 + free], NEVER)

    assert held.loop.run_until_complete(fill()) == 2
    assert held.calls.free == 0


# Answers of one group in parts cost up to 6 subrequests, and 6 writes of 3 statements. For its end a run keeps 3
# subrequests and 9 statements.
SUBREQUESTS, STATEMENTS = 6 + 3, 6 * 3 + 9


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("lacking_subrequests", "lacking_statements"), [(0, 0), (1, 0), (0, 1)])
def test_answers_come_in_parts_only_if_they_leave_enough_for_the_end_of_the_run(
    groups: int, lacking_subrequests: int, lacking_statements: int
) -> None:
    meter = Meter()
    more = groups - 1
    allowance = Allowance(60, SUBREQUESTS + 6 * more, STATEMENTS + 18 * more, meter, 0)
    with meter.reserved(lacking_subrequests, lacking_statements):
        assert allowance.allows_parts(groups) is (lacking_subrequests == lacking_statements == 0)

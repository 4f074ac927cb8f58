"""Callers that wait at a task's object for a notice of a write: which notices they get, and how long they are held."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.marks import LAST_STEP, Marks
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Mark
from src.kernel.run.log import Log
from src.objects.audience import Audience
from src.objects.sender import ObjectTeller

TASK = TaskKey("local:task")
NOBODY = Log(lambda _line: None)


class Bench:
    """A task's object with its waiting callers, in virtual time. `at_work` may be set."""

    def __init__(self) -> None:
        self.loop = Loop()  # type: ignore[abstract]
        self.at_work = True
        self.audience = Audience(lambda: self.at_work)

    def heard(self, since: Mark, *acts: tuple[float, Any], quiet: float = 0.0, seconds: float = 25.0) -> Any:
        """Let a caller wait while acts are done at their times; return the answer and the time."""

        async def play() -> tuple[bool | None, float]:
            began = self.loop.time()
            hearing = asyncio.ensure_future(self.audience.hear(since, quiet, seconds))
            await asyncio.sleep(0)
            for at, act in acts:
                await asyncio.sleep(began + at - self.loop.time())
                act()
            return await hearing, self.loop.time() - began

        return self.loop.run_until_complete(play())

    def wrote(self, fence: int, step: int, *, ended: bool = False) -> Any:
        return lambda: self.audience.tell(Mark(fence, step), ended)

    def rest(self) -> None:
        self.at_work = False
        self.audience.look_up()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


def test_word_from_before_the_call_is_not_lost(bench: Bench):
    bench.wrote(1, 5)()
    assert bench.heard(Mark(1, 4)) == (True, 0.0)


def test_what_the_caller_has_seen_is_no_word(bench: Bench):
    bench.wrote(1, 5)()
    assert bench.heard(Mark(1, 5), (2.0, bench.wrote(1, 5))) == (False, 25.0)
    bench.wrote(1, LAST_STEP, ended=True)()
    assert bench.heard(Mark(2, 0), (2.0, bench.wrote(1, LAST_STEP, ended=True))) == (False, 25.0)


def test_a_word_that_comes_late_takes_none_back(bench: Bench):
    bench.wrote(2, 3)()
    bench.wrote(1, LAST_STEP, ended=True)()
    assert bench.heard(Mark(2, 2), quiet=9.0) == (True, 9.0)


def test_within_the_quiet_time_only_an_end_is_told(bench: Bench):
    assert bench.heard(Mark(1, 4), (1.0, bench.wrote(1, 5)), quiet=6.0) == (True, 6.0)
    ends = (2.0, bench.wrote(1, 9, ended=True))
    assert bench.heard(Mark(1, 5), (1.0, bench.wrote(1, 6)), ends, quiet=6.0) == (True, 2.0)


def test_nobody_is_held_by_an_object_that_does_not_work(bench: Bench):
    """An object that does not work on its task holds no callers, since it would stay awake, which costs money."""
    assert bench.heard(Mark(1, 4), (7.0, bench.rest), quiet=20.0) == (None, 7.0)
    assert bench.heard(Mark(1, 4)) == (None, 0.0)
    bench.at_work = True
    acts = (7.0, bench.wrote(1, 5, ended=True)), (7.0, bench.rest)
    assert bench.heard(Mark(1, 4), *acts) == (True, 7.0)


def test_an_object_holds_so_many_callers_and_no_more(bench: Bench):
    async def play() -> list[bool | None]:
        hearing = [asyncio.ensure_future(bench.audience.hear(Mark(1, 4), 0.0, 25.0)) for _ in range(33)]
        await asyncio.sleep(1.0)
        done = [task.result() for task in hearing if task.done()]
        hearing[0].cancel()
        await asyncio.sleep(0)
        hearing.append(asyncio.ensure_future(bench.audience.hear(Mark(1, 4), 0.0, 25.0)))
        bench.wrote(1, 5)()
        held = [task for task in hearing[1:] if not task.done()]
        return [*done, *await asyncio.gather(*held)]

    assert limits.AUDIENCE_MOST == 32
    assert bench.loop.run_until_complete(play()) == [None] + [True] * 32


class Objects:
    """Objects whose `hear` gives the answer that a test sets."""

    def __init__(self, answer: Awaitable[object]) -> None:
        self._answer = answer
        self.asked: list[tuple[object, ...]] = []

    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        return self

    async def hear(self, *args: object) -> object:
        self.asked.append(args)
        return await self._answer


async def give(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


@pytest.mark.parametrize(
    ("answer", "heard"),
    [(True, True), (False, False), (None, None), ("yes", None), (AttributeError("hear"), None), (OSError(), None)],
)
def test_asking_never_fails(answer: object, heard: bool | None):
    objects, meter = Objects(give(answer)), Meter()
    teller = ObjectTeller(objects, meter, NOBODY)
    assert asyncio.run(teller.hear(TASK, Mark(3, 4), 1.0, 5.0)) is heard
    assert (objects.asked, meter.subrequests) == ([(3, 4, 1.0, 5.0)], 1)


def test_an_object_that_never_answers_is_given_up():
    loop = Loop()  # type: ignore[abstract]
    teller = ObjectTeller(Objects(asyncio.Event().wait()), Meter(), NOBODY)
    assert loop.run_until_complete(teller.hear(TASK, Mark(3, 4), 1.0, 5.0)) is None
    assert loop.time() == 5.0 + limits.TELL_SECONDS
    loop.close()


def test_marks_only_rise():
    marks = Marks()
    marks.wrote(TASK, Mark(2, 1), until=9.0)
    marks.left(TASK, 1, ended=True)
    assert marks.find(TASK) == (Mark(2, 1), False, 9.0)
    marks.left(TASK, 2, ended=True)
    assert marks.find(TASK) == (Mark(2, LAST_STEP), True, 0.0)
    marks.wrote(TASK, Mark(3, 0), until=9.0)  # after a retry
    assert marks.find(TASK) == (Mark(3, 0), False, 9.0)


def test_who_ends_a_task_leaves_a_mark_only_where_a_worker_has_left_one():
    marks = Marks()
    marks.ended(TASK)
    assert marks.find(TASK) is None
    marks.wrote(TASK, Mark(2, 1), until=9.0)
    marks.ended(TASK)
    assert marks.find(TASK) == (Mark(2, LAST_STEP), True, 0.0)


def test_marks_are_bounded():
    marks = Marks()
    for number in range(limits.MARKS_MOST):
        marks.wrote(TaskKey(f"local:{number}"), Mark(1, 0), until=1.0)
    marks.wrote(TaskKey("local:0"), Mark(1, 1), until=1.0)
    marks.wrote(TASK, Mark(1, 0), until=1.0)
    assert marks.find(TaskKey("local:0")) is not None
    assert marks.find(TaskKey("local:1")) is None


def test_nobody_is_held_for_long(bench: Bench):
    assert bench.heard(Mark(1, 4), seconds=9.0) == (False, 9.0)
    assert bench.heard(Mark(1, 4), seconds=1e9) == (False, limits.WAIT_SECONDS_MOST)

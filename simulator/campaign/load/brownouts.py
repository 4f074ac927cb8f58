"""Measures what a brown-out, in which a share of the model calls fails for a while, does to tasks.

The figures of an experiment are how many tasks survive, how many calls they pay for, and how soon they recover. Tasks
come one by one, before, during and after the brown-out, so that other tasks' calls always show whether the model
answers.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.binding_port import Reply
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World
from src.kernel.calls.protocol import ModelCall

ROUTES: dict[str, Deployment] = {"queue": TOP, "objects": FREE, "direct": DIRECT}
CHUNKS = 24
CALL_SECONDS = 1.0
CONCURRENCY = 6
BEGINS_AT_SECONDS = 20.0
CRON_SECONDS = 60
POISONED_SECONDS_MOST = 900.0  # The most seconds from a brown-out's end until a poisoned task has failed.
WIDE_SECONDS_MOST = 10.0  # The most seconds until runs make as many calls at once as before a brown-out.
LONG_PAUSE_FAILURES = 3  # After this many failures in a row a chunk's own pause may be longer than 10 s.
COUNTING_SHARE_MOST = 0.3  # If a larger share of calls fails, failures hardly ever count against a chunk.
CALLS_MOST = 1.5  # The most calls, as a multiple of the calls that the share of failures makes necessary.
CONSUMERS = 250  # The platform's limit of consumers for one queue.


@dataclass(frozen=True, slots=True)
class BrownOut:
    """One experiment: a `share` of the calls fails for `seconds`. In the experiment a task comes every `apart` seconds.

    Of the tasks that come before the brown-out's end, one in `poisoned_in` has a chunk that always fails; 0 means none.
    """

    share: float
    seconds: float
    route: str = "queue"
    poisoned_in: int = 0
    apart: float = 15.0

    @property
    def late_most(self) -> float:
        """The most seconds from the brown-out's end to the end of the last poisoned task, ten last calls included."""
        return POISONED_SECONDS_MOST + 10 * CALL_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class BrownOutResult:
    """The result of one experiment. `lost` are the tasks that did not end as they should, completed or failed.

    `calls` counts the calls for sound chunks, and `needed` is how many calls their outputs need, given the share of
    failures. `late` is how many seconds after the end of the brown-out the last poisoned task failed. `wide` is how
    many seconds passed from the brown-out's end until each run made as many calls at once as before: infinite if one
    run never did.
    """

    brown_out: BrownOut
    tasks: int
    poisoned: int
    lost: tuple[str, ...]
    calls: int
    needed: float
    late: float
    wide: float
    reasons: dict[str, int] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """Name what is wrong with the result."""
        wrong = []
        if self.lost:
            wrong.append(f"{len(self.lost)} tasks ended as they should not")
        if self.calls > CALLS_MOST * self.needed:
            wrong.append("too many calls")
        if self.late > self.brown_out.late_most:
            wrong.append("poisoned tasks go on")
        if self.wide > WIDE_SECONDS_MOST:
            wrong.append("narrow after its end")
        return wrong

    def facts(self) -> dict[str, Any]:
        """Return the figures for JSON. An infinite time is null."""
        return {
            "route": self.brown_out.route,
            "share": self.brown_out.share,
            "seconds": self.brown_out.seconds,
            "tasks": self.tasks,
            "poisoned": self.poisoned,
            "lost": len(self.lost),
            "calls": self.calls,
            "needed": round(self.needed),
            "lateSeconds": round(self.late, 1) if math.isfinite(self.late) else None,
            "wideSeconds": round(self.wide, 1) if math.isfinite(self.wide) else None,
        }


def apart(route: str) -> float:
    """Return how many seconds lie between the arrivals of two tasks: more on the direct route, where cron works.

    On the direct route a cron run works on one task at a time. Tasks must not come much more rarely, because a failure
    counts only once another call has succeeded: with one task a minute, each of the ten failures would take a minute.
    """
    return 30.0 if route == "direct" else 15.0


def brown_outs(
    shares: Sequence[float], minutes: Sequence[float], routes: Sequence[str], poisoned_in: Sequence[int]
) -> Iterator[BrownOut]:
    """Yield the experiments for all combinations of the arguments; `minutes` are the lengths of brown-outs."""
    for route in routes:
        for seconds in minutes:
            for share in shares:
                for part in poisoned_in:
                    yield BrownOut(share, 60 * seconds, route, part, apart(route))


def play(brown_out: BrownOut, seed: int = 0) -> BrownOutResult:
    """Run one experiment."""
    app = Onceover()
    app.watcher = Bystander()
    world = World(
        seed,
        app,
        TEMPLATE,
        scheduling="fifo",
        deployment=ROUTES[brown_out.route],
        variables={
            "CHUNK_MAX_CHARS": "10",
            "REQUIRE_KEYS": "false",
            "PLAN": "paid",
            "AI_CONCURRENCY": str(CONCURRENCY),
            "AI_TIMEOUT_SECONDS": "10",
        },
        queue_settings=QueueSettings(max_concurrency=CONSUMERS),
        model_seconds=(CALL_SECONDS, CALL_SECONDS),
        max_steps=80_000_000,
    )
    world.database.meter_reads = False
    return world.run(BrownOutTrial(world, brown_out).run)


def submission(number: int, *, poisoned: bool) -> ClientRequest:
    """Return the request that submits a task.

    If the task is `poisoned`, no call ever gets an answer for its ninth chunk.
    """
    letters = ("p" if poisoned and at == 8 else "w" for at in range(CHUNKS))
    text = "".join(f"{letter}{at:03d} abc. " for at, letter in enumerate(letters))
    return ClientRequest("POST", "/api/tasks", lambda: {"input": text, "instructions": f"t{number}"})


class BrownOutTrial:
    """One experiment with a brown-out in one world."""

    def __init__(self, world: World, brown_out: BrownOut) -> None:
        self._world = world
        self._brown_out = brown_out
        self._poisoned: set[int] = set()
        self._submitted = 0
        self._out: Counter[str] = Counter()  # By task: the number of its model calls in flight.
        # By task: the most calls in flight at once since the end of the brown-out.
        self._most_out: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {}  # By task and text: the number of failed calls in a row.
        self._calls = 0  # Calls of sound chunks.
        # The number of outputs of sound chunks, by whether the call was made during the brown-out.
        self._outputs = Counter[bool]()
        self._serve = world.model.serve
        world.model.serve = self._served  # type: ignore[method-assign]
        world.model.is_poison = lambda call: call.user.startswith("p")

    async def run(self, world: World) -> BrownOutResult:
        """Run the experiment: let tasks come, make the brown-out, and return how the tasks ended."""
        brown_out, loop, model = self._brown_out, world.loop, world.model
        world.start_cron(CRON_SECONDS)
        ends_at = BEGINS_AT_SECONDS + brown_out.seconds
        coming = asyncio.create_task(self._come(ends_at))
        await asyncio.sleep(BEGINS_AT_SECONDS - loop.now())
        model.brown_out(brown_out.seconds, brown_out.share)
        await asyncio.sleep(ends_at - loop.now())
        going = self._left()
        self._most_out = Counter(self._out)
        wide = await self._widened(going, ends_at)
        await coming
        for _ in range(200):
            if not any(row[1] is None for row in self._rows()):
                break
            await asyncio.sleep(10)
        return self._outcome(ends_at, wide)

    async def _come(self, ends_at: float) -> None:
        """Let tasks come for as long as poisoned tasks may last, so that other calls succeed beside their failures."""
        while self._world.loop.now() < ends_at + self._brown_out.late_most + 60:
            number = self._submitted
            self._submitted += 1
            one_in, lasts = self._brown_out.poisoned_in, self._world.loop.now() < ends_at
            poisoned = one_in > 0 and lasts and number % one_in == 1
            if poisoned:
                self._poisoned.add(number)
            reply = await self._world.fetch(submission(number, poisoned=poisoned))
            assert reply.status == 202, json.loads(reply.body)
            await asyncio.sleep(self._brown_out.apart)

    async def _widened(self, going: dict[str, int], ends_at: float) -> float:
        """Wait until each of the `going` tasks has had a call in flight for each chunk left, or the full concurrency.

        A task that has ended since counts as recovered. A chunk that failed three times in a row is not waited for if
        failures may count, because the pause before its next call is the chunk's own. Returns the seconds since
        `ends_at`, the end of the brown-out.
        """
        loop = self._world.loop
        while loop.now() < ends_at + 10 * WIDE_SECONDS_MOST:
            left = {task: chunks - self._pausing(task) for task, chunks in self._left().items()}
            narrow = [
                task
                for task, chunks in going.items()
                if task in left and self._most_out[task] < min(chunks, left[task], CONCURRENCY)
            ]
            if not narrow:
                return loop.now() - ends_at
            await asyncio.sleep(0.25)
        return math.inf

    def _left(self) -> dict[str, int]:
        """Return how many sound chunks are left of each task that has begun, unless the task waits for cron."""
        rows = self._world.database.connection.execute(
            "SELECT instructions, total - completed FROM tasks JOIN texts ON task_id = id WHERE status = 'processing'"
            " OR (status = 'pending' AND started_at IS NOT NULL AND route <> 'direct')"
        )
        return {task: left - (int(task[1:]) in self._poisoned) for task, left in rows}

    def _pausing(self, task: str) -> int:
        """Return how many sound chunks of a task may be in a long pause of their own."""
        if self._brown_out.share > COUNTING_SHARE_MOST:
            return 0
        return sum(failures >= LONG_PAUSE_FAILURES for failures in self._failed.get(task, Counter()).values())

    def _rows(self) -> list[tuple[str, int | None, str, str | None]]:
        return self._world.database.connection.execute(
            "SELECT instructions, finished_at, status, error_code FROM tasks JOIN texts ON task_id = id"
        ).fetchall()

    def _served(self, call: ModelCall, sender: str, reply: Reply) -> None:
        now, task = self._world.loop.now(), call.system
        lasts = BEGINS_AT_SECONDS <= now < BEGINS_AT_SECONDS + self._brown_out.seconds
        sound = not self._world.model.is_poison(call)
        self._calls += sound
        self._out[task] += 1
        self._most_out[task] = max(self._most_out[task], self._out[task])

        def ended(value: object, error: BaseException | None) -> None:
            self._out[task] -= 1
            self._outputs[lasts] += sound and error is None
            if sound:
                failures = self._failed.setdefault(task, Counter())
                failures[call.user] = 0 if error is None else failures[call.user] + 1
            reply(value, error)

        self._serve(call, sender, ended)

    def _outcome(self, ends_at: float, wide: float) -> BrownOutResult:
        lost, late = [], 0.0
        reasons: Counter[str] = Counter()
        for task, finished_ms, status, code in self._rows():
            poisoned = int(task[1:]) in self._poisoned
            if status != ("failed" if poisoned else "completed"):
                lost.append(task)
            if code is not None:
                reasons[code] += 1
            if poisoned and finished_ms is not None:
                began = max(ends_at, BEGINS_AT_SECONDS + int(task[1:]) * self._brown_out.apart)
                late = max(late, (finished_ms - self._world.now_ms()) / 1000 + self._world.loop.now() - began)
        return BrownOutResult(
            brown_out=self._brown_out,
            tasks=self._submitted,
            poisoned=len(self._poisoned),
            lost=tuple(lost),
            calls=self._calls,
            needed=self._outputs[False] + self._outputs[True] / (1 - self._brown_out.share),
            late=late,
            wide=wide,
            reasons=dict(reasons),
        )


def written(outcomes: list[BrownOutResult], path: Path) -> None:
    """Write the results' figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([outcome.facts() for outcome in outcomes], indent=2) + "\n", "utf-8")

"""Searches all states of a scene breadth first: whatever its programs and the database may do next, within bounds.

A state is the content of the tables, the time, where each program stands, the writes that may still land, the model
calls that were made, and what of the bounds is spent. Equal states are one, so a state's trace is a shortest one.
"""

import pickle
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from simulator.campaign.states.cast import SENT, TASK
from simulator.campaign.states.judging import Judge
from simulator.campaign.states.programs import (
    FAILED,
    LOST,
    REFUSED,
    START_MS,
    WAKE,
    Heard,
    Position,
    Positions,
    Program,
)
from simulator.campaign.states.tables import Tables
from simulator.campaign.states.words import Words
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.store import admission, ending, work_statements

SHORT_MS, LONG_MS = 2_500, 43_000  # Longer than calls may take to start; longer than a lease.
IDLE, OVER = 0, 1  # The numbers of the slots of programs that have not started, or are over.
_BOUNDS = ("crashes", "lost", "late", "failed", "slow", "short", "long")
_NO_STOP, _CANCELLED, _DELETED = range(3)
_ROUNDS_MOST = 12
_KEPT = (
    *("figures", "_slots", "_pools", "_calls", "_spent", "_clocks", "_labels", "_before", "_label", "_level"),
    *("_place", "_frontier", "_ends", "_affords", "_asks"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often each thing may happen on one path."""

    crashes: int = 1
    lost: int = 1  # Calls to the database that land, or do not, and whose answer is lost.
    late: int = 1  # Writes that land at any later moment, as their first or second landing.
    failed: int = 0  # Calls to the model that fail.
    slow: int = 1  # Answers of the database that come after steps of others, though no time passes.
    short: int = 1  # Moments at which the time for starting calls runs out.
    long: int = 1  # Moments at which every lease runs out.
    most: int = 2  # All of these together.


@dataclass(frozen=True, slots=True)
class Scene:
    """The programs of a search. `setup` runs before it, alone; workers differ only in the order in which they start.

    `after` are a sweep and workers that come when all others are over, to end what can be ended.
    """

    name: str
    setup: Program
    workers: tuple[Program, ...]
    others: tuple[tuple[str, Program], ...]
    after: tuple[Program, ...]
    text: str
    bounds: Bounds = Bounds()
    evicts: bool = False  # Whether a worker takes the place of an earlier one of the same host.


class Slot(NamedTuple):
    """Where a program stands; the answer that is held back until time passes; what the task was when it last asked."""

    position: int
    held: tuple[int, int] | None = None  # The wait and the answer.
    asked: tuple[int, int] | None = None  # The fence and the generation of the task.


class TaskState(NamedTuple):
    """One state, each of whose parts is a number."""

    content: int
    clock: int
    spent: int
    pool: int
    calls: int
    gone: int  # How many calls were on the bill of the erased task, plus one; 0 while it is there.
    stopped: int
    slots: tuple[int, ...]


class Broken(NamedTuple):
    """A broken invariant, with the steps to it."""

    what: str
    steps: list[str]


class Numbered[T]:
    """Gives each value a number."""

    def __init__(self, *values: T) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}
        for value in values:
            self.number(value)

    def number(self, value: T) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


@dataclass(slots=True)
class SearchFigures:
    """What a search has counted so far."""

    states: int = 0
    transitions: int = 0
    depth: int = -1  # The most steps that any state needs.
    seconds: float = 0.0
    ends: int = 0
    contents: int = 0
    positions: int = 0
    done: bool = False


class Search:
    """The search of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.figures = SearchFigures()
        self.tables = Tables()
        self.judge = Judge(self.tables, scene.text)
        self._names = [f"worker {number + 1}" for number in range(len(scene.workers))] + [
            name for name, _ in scene.others
        ]
        programs = [*scene.workers, *(program for _, program in scene.others)]
        self._count = len(programs)
        self._workers = len(scene.workers)
        self._clients = {place for place, name in enumerate(self._names) if name == "client"}
        self.positions = Positions(self.tables, [*programs, *scene.after, scene.setup])
        self._slots: Numbered[Slot] = Numbered(Slot(-1), Slot(-2))
        self._pools: Numbered[tuple[tuple[int, tuple[int, int] | None], ...]] = Numbered(())
        self._calls: Numbered[tuple[int, ...]] = Numbered(())
        self._spent: Numbered[tuple[int, ...]] = Numbered((0,) * len(_BOUNDS))
        self._clocks: Numbered[tuple[int, ...]] = Numbered((0, 0))
        self._labels: Numbered[tuple[Any, ...]] = Numbered(())
        self._known: dict[TaskState, int] = {}
        self._before, self._label = array("I"), array("I")
        self._level: list[TaskState] = []  # The states of one depth; those before `_place` are searched.
        self._place = 0
        self._frontier: list[TaskState] = []  # The states of the next depth.
        self._ends: set[tuple[Any, ...]] = set()
        self._affords: dict[tuple[int, str], int | None] = {}
        self._asks: dict[int, bool] = {}
        # The statements that must not take effect if something else has happened since they were asked for.
        self._asking = {work_statements.CLAIM.sql, ending.CANCEL.sql, admission.RETRY.sql}
        first = TaskState(self._set_up(), 0, 0, 0, 0, 0, 0, (IDLE,) * self._count)
        self._add(first, 0, ())

    def _set_up(self) -> int:
        content, _ = self._played(len(self.positions._programs) - 1, 0, START_MS, [])
        return content

    # --- the search ---

    def run(self, seconds: float = float("inf"), states_most: int = 10**9) -> Broken | None:
        """Search until everything is known, an invariant is broken, or `seconds` are over."""
        began, figures = time.process_time(), self.figures
        before, broken = figures.seconds, None
        while broken is None and not figures.done:
            if self._place == len(self._level):
                self._level, self._frontier, self._place = self._frontier, [], 0
                figures.done, figures.depth = not self._level, figures.depth + bool(self._level)
                continue
            state = self._level[self._place]
            try:
                for label, after in self._steps(state):
                    figures.transitions += 1
                    self._add(after, self._known[state], label)
                self._check_end(state)
            except InvariantBroken as error:
                broken = Broken(str(error).replace(TASK, "the task"), self.trace(self._known[state], self._failing))
            self._place += 1
            late = self._place % 64 == 0 and time.process_time() - began > seconds
            if late or len(self._known) > states_most:
                break
        figures.seconds = before + time.process_time() - began
        figures.states, figures.contents = len(self._known), len(self.tables.contents)
        figures.positions, figures.ends = len(self.positions.positions), len(self._ends)
        return broken

    def __len__(self) -> int:
        return len(self._known)

    def save(self, path: Path, code: str) -> None:
        """Keep what is known so far. `code` is a digest of the code that was run."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _KEPT}
        kept["known"] = list(self._known)
        parts = (self.tables, self.positions, self.judge)
        kept["parts"] = [{name: getattr(part, name) for name in part.KEPT} for part in parts]
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            pickle.dump(code, file)
            pickle.dump(kept, file, pickle.HIGHEST_PROTOCOL)
        new.replace(path)

    def restore(self, path: Path, code: str) -> bool:
        """Go on from a search that was kept, if it ran the same code. Returns whether it did."""
        if not path.exists():
            return False
        with path.open("rb") as file:
            if pickle.load(file) != code:  # noqa: S301 - a file of our own
                return False  # before what is kept is read, because its classes may have changed
            kept = pickle.load(file)  # noqa: S301
        for name in _KEPT:
            setattr(self, name, kept[name])
        self._known = {state: number for number, state in enumerate(kept["known"])}
        for part, values in zip((self.tables, self.positions, self.judge), kept["parts"], strict=True):
            for name, value in values.items():
                setattr(part, name, value)
        return True

    _failing: tuple[Any, ...] = ()

    def _add(self, state: TaskState, before: int, label: tuple[Any, ...]) -> None:
        if state not in self._known:
            self._known[state] = len(self._known)
            self._before.append(before)
            self._label.append(self._labels.number(label))
            self._frontier.append(state)

    def now_ms(self, clock: int) -> int:
        short, long = self._clocks.values[clock]
        return START_MS + short * SHORT_MS + long * LONG_MS

    # --- steps ---

    def _steps(self, state: TaskState) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        """Give all steps from a state. Raises InvariantBroken at the step `_failing`."""
        alone = self._hears_alone(state)
        for place, number in enumerate(state.slots):
            if number == OVER or (alone is not None and place != alone and place not in self._clients):
                continue
            if number == IDLE:
                if place == 0 or place >= self._workers or state.slots[place - 1] != IDLE:
                    # A program starts with the first thing that it asks of the database.
                    at = self.positions.start(place, self.now_ms(state.clock))
                    (wait,) = self.positions.positions[at].waits
                    started = self._went_on(state, place, None, at)
                    slot = self._slots.values[started.slots[place]]
                    yield from self._database_steps(started, place, slot, wait.number, wait.call)
                continue
            yield from self._program_steps(state, place, self._slots.values[number])
        yield from self._pool_steps(state)
        yield from self._jumps(state)

    def _hears_alone(self, state: TaskState) -> int | None:
        """Return the first program that waits for the model alone, if there is one.

        The model's answer changes nothing but its program. So it comes before the steps of other workers and of sweeps:
        after them it is the same. What the answer itself may meet is tried instead: it fails, its program dies, time
        passes, a late write lands, or a client acts, whose answer depends on time.
        """
        for place, number in enumerate(state.slots):
            if number > OVER:
                slot = self._slots.values[number]
                if slot.held is None and self.positions.positions[slot.position].hears_model:
                    return place
        return None

    def _program_steps(self, state: TaskState, place: int, slot: Slot) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        at = self.positions.positions[slot.position]
        if slot.held is not None:
            self._failing = ("hears", place)
            yield self._failing, self._told(state, place, slot, *slot.held)
        if at.wakes_ms is not None and at.wakes_ms <= self.now_ms(state.clock):
            self._failing = ("wakes", place)
            yield self._failing, self._told(state, place, slot, WAKE, LOST)
        for wait in at.waits:
            if slot.held is not None and slot.held[0] == wait.number:
                continue
            if not wait.of_model:
                yield from self._database_steps(state, place, slot, wait.number, wait.call)
                continue
            self._failing = ("model", place, wait.call)
            yield self._failing, self._told(state, place, slot, wait.number, 0)
            if (paid := self._paid(state, "failed")) is not None:
                for answer, kind in ((FAILED, "model fails"), (REFUSED, "model refuses")):
                    self._failing = (kind, place, wait.call)
                    failed = self._failed_call(paid, wait.call, answer)
                    yield self._failing, self._told(failed, place, slot, wait.number, answer)
        if (paid := self._paid(state, "crashes")) is not None:
            yield from self._deaths(paid._replace(slots=_replaced(state.slots, place, OVER)), place, slot, at)

    def _deaths(
        self, crashed: TaskState, place: int, slot: Slot, at: Position
    ) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        self._failing = ("crash", place)
        yield self._failing, crashed
        if slot.held is None and (paid := self._paid(crashed, "late")) is not None:
            for wait in at.waits:
                if not wait.of_model and self.tables.writes[wait.call]:
                    self._failing = ("crash, late", place, wait.call)
                    yield self._failing, self._later(paid, wait.call, slot.asked)

    def _pool_steps(self, state: TaskState) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        for call, asked in self._pools.values[state.pool]:
            self._failing = ("lands late", call)
            pool = list(self._pools.values[state.pool])
            pool.remove((call, asked))
            after, _, _ = self._landed(state._replace(pool=self._pools.number(tuple(pool))), call, asked)
            yield self._failing, after

    def _jumps(self, state: TaskState) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        if all(slot in {IDLE, OVER} for slot in state.slots):
            return
        now_ms, wakes = self.now_ms(state.clock), False
        for number in state.slots:
            if number > OVER:
                wakes_ms = self.positions.positions[self._slots.values[number].position].wakes_ms
                wakes |= wakes_ms is not None and now_ms < wakes_ms <= now_ms + SHORT_MS
        for kind in ("short", "long") if wakes else ("long",):
            if (paid := self._passed(state, kind)) is not None:
                self._failing = ("pass", kind)
                yield self._failing, paid

    def _passed(self, state: TaskState, kind: str) -> TaskState | None:
        """Return the state after a time has passed, or None if that is not within the bounds."""
        paid = self._paid(state, kind)
        return None if paid is None else paid._replace(clock=self._clocks.number(self._spent.values[paid.spent][5:]))

    def _paid(self, state: TaskState, what: str) -> TaskState | None:
        """Return the state after one more use of a bound, or None if it is used up."""
        key = state.spent, what
        after = self._affords.get(key, -1)
        if after == -1:
            place, spent = _BOUNDS.index(what), self._spent.values[state.spent]
            after = None
            if spent[place] < getattr(self.scene.bounds, what) and sum(spent) < self.scene.bounds.most:
                after = self._spent.number((*spent[:place], spent[place] + 1, *spent[place + 1 :]))
            self._affords[key] = after
        return None if after is None else state._replace(spent=after)

    def _database_steps(
        self, state: TaskState, place: int, slot: Slot, wait: int, call: int
    ) -> Iterator[tuple[tuple[Any, ...], TaskState]]:
        self._failing = ("lands", place, call)
        landed, answer, changed = self._landed(state, call, slot.asked)
        yield self._failing, self._told(landed, place, slot, wait, answer)
        if changed and (paid := self._paid(landed, "lost")) is not None:
            self._failing = ("lands, unanswered", place, call)
            yield self._failing, self._told(paid, place, slot, wait, LOST)
        # A write that is refused now because its claim is over will never have an effect.
        if (changed or self._is_asked(call)) and (paid := self._paid(state, "late")) is not None:
            self._failing = ("late", place, call)
            yield self._failing, self._told(self._later(paid, call, slot.asked), place, slot, wait, LOST)
            if changed:
                self._failing = ("again", place, call)
                again = self._later(landed._replace(spent=paid.spent), call, slot.asked)
                yield self._failing, self._told(again, place, slot, wait, answer)
        if slot.held is None:
            for kind in ("slow", "short", "long") if place < self._workers and changed else ("long",):
                paid = self._paid(landed, kind) if kind == "slow" else self._passed(landed, kind)
                if paid is not None:
                    self._failing = (kind, place, call)
                    held = self._slots.number(slot._replace(held=(wait, answer)))
                    yield self._failing, paid._replace(slots=_replaced(state.slots, place, held))

    def _later(self, state: TaskState, call: int, asked: tuple[int, int] | None) -> TaskState:
        pool = tuple(sorted((*self._pools.values[state.pool], (call, asked)), key=repr))
        return state._replace(pool=self._pools.number(pool))

    def _failed_call(self, state: TaskState, call: int, answer: int) -> TaskState:
        calls = list(self._calls.values[state.calls])
        calls[calls.index(3 * call)] += {FAILED: 1, REFUSED: 2}[answer]
        return state._replace(calls=self._calls.number(tuple(sorted(calls))))

    def _landed(self, state: TaskState, call: int, asked: tuple[int, int] | None) -> tuple[TaskState, int, bool]:
        """Let a call take effect. Returns the state, the number of the answer, and whether anything changed."""
        now_ms = self.now_ms(state.clock)
        effect, is_new = self.tables.effect(state.content, call, now_ms)
        if isinstance(refused := self.tables.answers[effect.answer], str):
            raise InvariantBroken(f"the database refused a statement: {refused}")
        if effect.after == state.content:
            return state, effect.answer, False
        if is_new:
            self.judge.check_change(state.content, call, effect, now_ms)
        was, now = self.judge.facts(state.content).rows.get(TASK), self.judge.facts(effect.after).rows.get(TASK)
        gone, stopped = state.gone, state.stopped
        if was is not None and now is None:
            gone = was.sent + 1
        elif was is not None and now is not None:
            if was.terminal and not now.terminal:
                stopped = _NO_STOP
            if asked is not None:
                _check_lateness(was, now, now_ms, asked, self.judge.facts(state.content).generation)
        return state._replace(content=effect.after, gone=gone, stopped=stopped), effect.answer, True

    def _told(self, state: TaskState, place: int, slot: Slot, wait: int, answer: int) -> TaskState:
        event = Heard(wait, answer, self.now_ms(state.clock))
        return self._went_on(state, place, slot, self.positions.go_on(slot.position, event), wait)

    def _went_on(self, state: TaskState, place: int, slot: Slot | None, position: int, wait: int = WAKE) -> TaskState:
        """Put a program at its next position, and check what it did on its way."""
        at = self.positions.positions[position]
        if at.made:
            state = self._called(state, at)
        for line in at.said:
            stopped = {"answered cancelled": _CANCELLED, "answered deleted": _DELETED}.get(line, state.stopped)
            state = state._replace(stopped=stopped)
        if at.ended is not None:
            if place < self._workers:
                self._check_custody(state, at)
            return state._replace(slots=_replaced(state.slots, place, OVER))
        held = slot.held if slot is not None and slot.held is not None and slot.held[0] != wait else None
        asked = None
        if any(not one.of_model and self._is_asked(one.call) for one in at.waits):
            facts = self.judge.facts(state.content)
            row = facts.rows.get(TASK)
            asked = None if row is None else (row.fence, facts.generation)
        number = self._slots.number(Slot(position, held, asked))
        return state._replace(slots=_replaced(state.slots, place, number))

    def _called(self, state: TaskState, at: Position) -> TaskState:
        """Count the model calls that a step has made, and check that they are on the bill and may be made."""
        calls = tuple(sorted((*self._calls.values[state.calls], *(3 * made for made in at.made))))
        row = self.judge.facts(state.content).rows.get(TASK)
        sent = row.sent if row is not None else state.gone - 1
        if len(calls) > sent:
            raise InvariantBroken(f"{len(calls)} calls have reached the model, {sent} are on the bill")
        if row is not None and row.deadline_at is not None and self.now_ms(state.clock) > row.deadline_at:
            raise InvariantBroken("a call started after the task's deadline")
        if state.stopped:
            raise InvariantBroken("a call started after the client was answered that none would")
        return state._replace(calls=self._calls.number(calls))

    def _is_asked(self, call: int) -> bool:
        known = self._asks.get(call)
        if known is None:
            known = self._asks[call] = any(sql in self._asking for sql, _ in self.tables.calls[call])
        return known

    def _check_custody(self, state: TaskState, at: Position) -> None:
        """Check that the outputs that reached a run are recorded at its end, unless another claim has the task."""
        facts = self.judge.facts(state.content)
        row = facts.rows.get(TASK)
        if row is None or not at.heard or row.fence != at.fence or str(at.ended).startswith("gave up"):
            return
        recorded = "\n".join(facts.outputs.values())
        if missing := [output for output in at.heard if output not in recorded]:
            raise InvariantBroken(f"a run ended, and {len(missing)} outputs that it got are not recorded")

    # --- ends ---

    def _check_end(self, state: TaskState) -> None:
        """Check that the task ends well if all programs are over now, whether by themselves or by a crash."""
        over = all(slot in {IDLE, OVER} for slot in state.slots)
        key = (state.content, state.clock, *((state.calls, state.spent, state.slots) if over else ()))
        if key in self._ends:
            return
        self._ends.add(key)
        self._failing = ("after",)
        self.after(state, over=over)

    def after(self, state: TaskState, *, over: bool) -> None:
        """Let sweeps and workers end the task without faults, and check its end. Raises InvariantBroken."""
        content, calls = state.content, list(self._calls.values[state.calls])
        now_ms = self.now_ms(state.clock)
        for number in range(_ROUNDS_MOST):
            row = self.judge.facts(content).rows.get(TASK)
            if row is None or (row.terminal and not self.judge.facts(content).unwritten):
                break
            now_ms = max(now_ms + LONG_MS, row.wake_at, row.rest_until)
            content, said = self._played(self._count, content, now_ms, calls)
            worker = number + 1
            while SENT in said:
                content, said = self._played(
                    self._count + min(worker, len(self.scene.after) - 1), content, now_ms, calls
                )
                worker += 1
                now_ms += 3_000
        else:
            raise InvariantBroken(f"the task does not end within {_ROUNDS_MOST} sweeps")
        row = self.judge.facts(content).rows.get(TASK)
        if row is None:
            return
        fired = {"crash_before", "worker_frozen"} if not over else set()
        crashes, lost, late, failed, *_ = self._spent.values[state.spent]
        fired |= {"crash_before"} if crashes else set()
        fired |= {"d1_failed_after_commit"} if lost else set()
        fired |= {"d1_lands_later"} if late else set()
        fired |= {"model_unavailable"} if failed else set()
        fired |= {"worker_frozen"} if state.clock else set()
        fired |= {"object_evicted"} if self.scene.evicts and state.slots[self._workers - 1] != IDLE else set()
        clients = [slot for slot, name in zip(state.slots, self._names, strict=True) if name == "client"]
        operated = any(slot != IDLE for slot in clients)
        content, _ = self._played(self._count, content, now_ms + LONG_MS, calls)  # a sweep that adds up what has ended
        self.judge.check_end(content, tuple(calls), self.positions.models, frozenset(fired), operated=operated)

    def _played(self, program: int, content: int, now_ms: int, calls: list[int]) -> tuple[int, list[str]]:
        """Run a program alone, and return the content after it and what it said."""
        position = self.positions.start(program, now_ms)
        said: list[str] = []
        while True:
            at = self.positions.positions[position]
            said += at.said
            calls += [3 * made for made in at.made]
            if at.ended is not None:
                return content, said
            if not at.waits:
                assert at.wakes_ms is not None
                now_ms = max(now_ms, at.wakes_ms)
                position = self.positions.go_on(position, Heard(WAKE, LOST, now_ms))
                continue
            wait = at.waits[0]
            answer = 0
            if not wait.of_model:
                effect, is_new = self.tables.effect(content, wait.call, now_ms)
                if is_new and effect.after != content:
                    self.judge.check_change(content, wait.call, effect, now_ms)
                content, answer = effect.after, effect.answer
            position = self.positions.go_on(position, Heard(wait.number, answer, now_ms))

    # --- traces ---

    def trace(self, number: int, last: tuple[Any, ...]) -> list[str]:
        """Return the steps to a state, and one more, in words."""
        words, states = Words(self.tables, self._names), list(self._known)
        steps: list[str] = []
        steps.append(self._step(words, last, states[number], None))
        while number:
            before = self._before[number]
            label = self._labels.values[self._label[number]]
            steps.append(self._step(words, label, states[before], states[number]))
            number = before
        return [f"{place}. {step}" for place, step in enumerate(reversed(steps), 1)]

    def _step(self, words: Words, label: tuple[Any, ...], before: TaskState, after: TaskState | None) -> str:
        text = self.positions.models.calls[label[2]].user[:12] if label[0].startswith("model") else ""
        said = words.step(label, text)
        if after is None:
            return said
        made = len(self._calls.values[after.calls]) - len(self._calls.values[before.calls])
        if made:
            said += f"; {made} model call{'s' * (made > 1)} start{'s' * (made == 1)}"
        if after.content != before.content:
            said += f" → {words.row(self.judge.facts(after.content).rows.get(TASK))}"
        if after.stopped != before.stopped and after.stopped:
            said += "; the client is answered"
        place = next((at for at, slot in enumerate(after.slots) if slot == OVER != before.slots[at]), None)
        if place is not None and not label[0].startswith("crash"):
            said += f"; {self._names[place]} is over"
        return said

    def close(self) -> None:
        """Close the programs and the database."""
        self.positions.close()
        self.tables.close()


def _replaced(slots: tuple[int, ...], place: int, slot: int) -> tuple[int, ...]:
    return (*slots[:place], slot, *slots[place + 1 :])


def _check_lateness(was: Any, now: Any, now_ms: int, asked: tuple[int, int], generation: int) -> None:
    fence, generation_asked = asked
    if now.status == "processing" and now.fence != was.fence:
        live = was.lease_until is not None and was.lease_until > now_ms
        if live and fence < was.fence:
            raise InvariantBroken(f"claim {was.fence} was taken over by one that had been asked for before")
    put_back = now.status == "pending" and was.terminal
    cancelled = now.status == "cancelled" and not was.terminal
    if (put_back or cancelled) and generation_asked < generation:
        raise InvariantBroken(f"{now.status} by a request from before it was put back")

"""Property tests of the numbering of events, of tasks and of `/v1`: each comes once, and a list only grows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from src.features.openai.response_events import (
    FIRST_DELTA,
    ResponseEvent,
    ResponseEventKind,
    ResponseProgress,
    events_from,
)
from src.kernel.domain.events import EventMark, Phase, State, TaskEvent, events, has_been, mark_of, takes_chunks
from src.kernel.domain.task import TRANSITIONS, Status

CHUNKS = 5


@dataclass(frozen=True)
class Row:
    """What the database knows about a task: its state, and which chunks have an output."""

    state: State = State(0, Status.PENDING, False)  # noqa: RUF009 - it never changes
    done: frozenset[int] = field(default_factory=frozenset)

    @property
    def ready(self) -> int:
        return next(index for index in range(CHUNKS + 1) if index not in self.done)


def moved(row: Row, name: str, chunk: int) -> Row:
    """Return the row after a step, the same if it is not allowed. `progress` gives a chunk its output."""
    transition, state = TRANSITIONS[name], row.state
    if state.status not in transition.sources or (name == "finish" and len(row.done) < CHUNKS):
        return row
    if name == "progress":
        return replace(row, done=row.done | {chunk})
    began = transition.target is Status.PROCESSING
    generation = state.generation + (name == "retry")
    return replace(row, state=State(generation, transition.target, state.started or began))


steps = st.tuples(st.sampled_from([*TRANSITIONS, *["progress"] * 12]), st.integers(0, CHUNKS - 1))
histories = st.lists(steps, max_size=40)


def rows_of(history: Sequence[tuple[str, int]]) -> list[Row]:
    rows = [Row(), moved(Row(), "claim", 0)]
    for name, chunk in history:
        rows.append(moved(rows[-1], name, chunk))
    return rows


def look(mark: EventMark | None, row: Row, at_once: int) -> list[TaskEvent]:
    found: list[TaskEvent] = []
    while True:
        seen = 0 if mark is None else mark.chunks
        outputs = min(at_once, row.ready - seen) if takes_chunks(mark, row.state) else 0
        new = list(events(mark, row.state, outputs, all_ready=seen + outputs == row.ready or not outputs))
        found += new
        mark = new[-1].mark if new else mark
        if not outputs:
            return found


def follow(rows: Sequence[Row], at_once: int = 16, cuts: frozenset[int] = frozenset()) -> list[TaskEvent]:
    """Follow a task, and return what a client receives whose stream breaks off and loses events."""
    received: list[TaskEvent] = []
    for row in rows:
        mark = received[-1].mark if received else None
        for event in look(mark, row, at_once):
            received.append(event)
            if len(received) in cuts:
                break
    return received


@given(histories, st.integers(1, 4), st.sets(st.integers(1, 30)))
def test_a_stream_that_is_cut_anywhere_gives_each_event_once(
    history: list[tuple[str, int]], at_once: int, cuts: set[int]
):
    rows = rows_of(history)
    received = follow([*rows, rows[-1]], at_once, frozenset(cuts)) if cuts else follow(rows, at_once)
    chunks = [event.chunk for event in received if event.chunk is not None]
    assert chunks == list(range(len(chunks)))
    marks = [event.mark for event in received]
    assert marks == sorted(set(marks), key=lambda mark: (mark.generation, mark.chunks, mark.phase))
    assert len({mark.id for mark in marks}) == len(marks)
    for event in received:
        if event.chunk is not None:
            assert event.mark.chunks == event.chunk + 1


@given(histories, st.integers(1, 4), st.integers(0, 40))
def test_whoever_comes_back_at_the_end_has_what_others_have(history: list[tuple[str, int]], at_once: int, cut: int):
    rows = rows_of([step for step in history if step[0] != "retry"])
    whole = follow(rows)
    kept = whole[:cut]
    rest = look(kept[-1].mark if kept else None, rows[-1], at_once)
    assert kept + rest == whole
    assert look(whole[-1].mark, rows[-1], at_once) == []


@given(histories)
def test_an_ended_task_tells_its_end_last(history: list[tuple[str, int]]):
    row = rows_of(history)[-1]
    told = follow([row])
    if row.state.status.terminal:
        assert told[-1].status is row.state.status
        assert [event.chunk for event in told if event.chunk is not None] == list(range(row.ready))
    else:
        assert told[-1].mark.phase is not Phase.ENDED


@given(histories)
def test_every_id_is_known_again(history: list[tuple[str, int]]):
    rows = rows_of(history)
    received: list[TaskEvent] = []
    for row in rows:
        received += look(received[-1].mark if received else None, row, 16)
        for event in received:
            assert mark_of(event.mark.id) == event.mark
            assert has_been(event.mark, row.state, row.ready), (event, row)


@given(st.integers(0, 9), st.integers(0, 3 * CHUNKS + 9), histories)
def test_an_id_that_nobody_has_given_is_told(generation: int, number: int, history: list[tuple[str, int]]):
    row = rows_of(history)[-1]
    mark = mark_of(f"{generation}-{number}")
    assert mark is not None
    if has_been(mark, row.state, row.ready):
        assert generation <= row.state.generation
        assert mark.chunks <= row.ready
        assert (mark.generation, mark.phase) != (row.state.generation, Phase.ENDED) or row.state.status.terminal


@given(st.sets(st.integers(0, CHUNKS - 1)), st.integers(0, CHUNKS), st.integers(0, 30))
def test_a_gap_takes_its_chunks_place(gaps: set[int], ready: int, cut: int):
    state = State(0, Status.COMPLETED, True)
    whole = list(events(None, state, ready, all_ready=True, gaps=gaps))
    shown = [event for event in whole if event.status is None]
    assert [event.gap if event.chunk is None else event.chunk for event in shown] == list(range(ready))
    assert {event.gap for event in shown} - {None} == {gap for gap in gaps if gap < ready}
    kept = whole[:cut]
    mark = kept[-1].mark if kept else None
    left = ready - (0 if mark is None else mark.chunks)
    assert kept + list(events(mark, state, left, all_ready=True, gaps=gaps)) == whole


ENDS = st.sampled_from([Status.COMPLETED, Status.FAILED, Status.CANCELLED])


@st.composite
def lives(draw: st.DrawFn) -> list[ResponseProgress]:
    end, deltas = draw(ENDS), draw(st.integers(0, 6))
    started = bool(deltas) or end is Status.COMPLETED or draw(st.booleans())
    life = [ResponseProgress(Status.PENDING, False, 0)]
    if started:
        life += [ResponseProgress(Status.PROCESSING, True, known) for known in range(deltas + 1)]
    deltas = max(deltas, 1) if end is Status.COMPLETED else deltas
    # A read may find the response's end before the read finds all of its text.
    life += [
        ResponseProgress(end, started, known, all_known=False)
        for known in draw(st.sets(st.integers(life[-1].deltas, deltas)))
    ]
    return [*sorted(life, key=lambda one: (one.status.terminal, one.deltas)), ResponseProgress(end, started, deltas)]


def whole(standing: ResponseProgress) -> list[ResponseEvent]:
    return list(events_from(standing, 0))


@given(lives())
def test_what_was_told_stays_as_it_was(life: list[ResponseProgress]):
    for earlier, later in pairwise(life):
        assert whole(later)[: len(earlier.kinds)] == whole(earlier)


@given(lives(), st.lists(st.integers(0, 3), max_size=12))
def test_a_stream_that_is_cut_anywhere_has_each_event_once(life: list[ResponseProgress], taken: list[int]):
    received: list[ResponseEvent] = []
    for standing, most in zip(life, taken, strict=False):
        received += list(events_from(standing, len(received)))[:most]
    received += events_from(life[-1], len(received))
    assert received == whole(life[-1])
    assert [event.number for event in received] == list(range(len(received)))


@given(lives())
def test_the_list_is_openai_s(life: list[ResponseProgress]):
    end, kinds = life[-1], [event.kind for event in whole(life[-1])]
    assert kinds[:2] == [ResponseEventKind.CREATED, ResponseEventKind.QUEUED]
    assert kinds.count(ResponseEventKind.DELTA) == end.deltas
    assert [event.delta for event in whole(end) if event.kind is ResponseEventKind.DELTA] == list(range(end.deltas))
    assert kinds[-1] is ResponseEventKind.END
    assert kinds.count(ResponseEventKind.END) == 1
    done = [ResponseEventKind.TEXT_DONE, ResponseEventKind.PART_DONE, ResponseEventKind.ITEM_DONE]
    if end.status is Status.COMPLETED:
        assert kinds[-4:-1] == done
    else:
        assert not set(done) & set(kinds)
    if end.deltas:
        assert kinds[2:FIRST_DELTA] == [
            ResponseEventKind.IN_PROGRESS,
            ResponseEventKind.ITEM_ADDED,
            ResponseEventKind.PART_ADDED,
        ]

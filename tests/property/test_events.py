"""Property tests of the numbering of a task's events: each event comes once, whatever happens to task and streams."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

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

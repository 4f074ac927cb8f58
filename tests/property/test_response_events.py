"""Property tests of the numbering of `/v1`'s events: whatever happens to a response, its list of events only grows."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from src.features.openai.response_events import (
    FIRST_DELTA,
    ResponseEvent,
    ResponseEventKind,
    ResponseProgress,
    response_events,
)
from src.kernel.domain.task import Status

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
    return list(response_events(standing, 0))


@given(lives())
def test_what_was_told_stays_as_it_was(life: list[ResponseProgress]):
    for earlier, later in pairwise(life):
        assert whole(later)[: len(earlier.kinds)] == whole(earlier)


@given(lives(), st.lists(st.integers(0, 3), max_size=12))
def test_a_stream_that_is_cut_anywhere_has_each_event_once(life: list[ResponseProgress], taken: list[int]):
    received: list[ResponseEvent] = []
    for standing, most in zip(life, taken, strict=False):
        received += list(response_events(standing, len(received)))[:most]
    received += response_events(life[-1], len(received))
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

"""Property tests of the limit on a run's writes: whatever fails, their number is bounded by work and time."""

from hypothesis import given
from hypothesis import strategies as st

from src.kernel.calls.pace import WriteBucket
from src.kernel.domain import limits

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 300, allow_nan=False)),
        st.tuples(st.just("end"), st.integers(1, 30).map(float)),
        st.tuples(st.just("write"), st.integers(1, 40).map(float)),
    ),
    max_size=60,
)


@given(events=EVENTS, first=st.sampled_from([limits.WRITES_AT_FIRST, limits.WRITES_AT_FIRST_IDLE]))
def test_writes_are_bounded_by_work_and_time(events: list[tuple[str, float]], first: int):
    """A run may write twice for each call that has ended, twice a minute, and a few times at its start.

    The run in this test writes whenever the limit on writes allows it.
    """
    now, ended, writes = 1_000.0, 0, 0
    bucket = WriteBucket(first, now)
    for kind, much in events:
        if kind == "pass":
            now += much
        elif kind == "end":
            ended += int(much)
            bucket.earn(int(much))
        else:
            for _ in range(int(much)):
                ready_at = bucket.ready_at(now)
                assert ready_at <= now + 60 / limits.WRITES_A_MINUTE + 1e-6
                if ready_at > now:
                    break
                bucket.spend(now)
                writes += 1
    minutes = (now - 1_000) / 60
    assert writes <= first + limits.WRITES_A_CALL * ended + limits.WRITES_A_MINUTE * minutes + 1e-6

"""Property tests of segments: packed outputs come back unchanged, however they are split into pieces."""

from itertools import accumulate, chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.domain import limits
from src.kernel.store.claims import CallKey, Output
from src.kernel.store.segments import Piece, pieces, unpack

# These texts have no lone surrogates, because `inference.replies` replaces them in every reply.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
whole = st.integers(0, 2**53 - 1)
outputs = st.lists(
    st.builds(
        Output,
        st.builds(CallKey, st.integers(0, 2), st.integers(0, 5_000)),
        texts,
        st.integers(1, 10_000),
        st.none() | texts,
        st.none() | whole,
        st.none() | whole,
    ),
    max_size=12,
)
tries = st.lists(st.integers(0, 12), max_size=4)


@pytest.fixture(params=[20, 200, limits.PIECE_BYTES_MOST], autouse=True)
def bytes_most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the size limit of a piece: the size of one output, that of some outputs, or production's limit."""
    monkeypatch.setattr(limits, "PIECE_BYTES_MOST", request.param)


def _tries(told: list[Output], sizes: list[int]) -> list[int]:
    return sorted(min(size, len(told)) for size in sizes)


@given(told=outputs, sizes=tries)
def test_what_is_packed_comes_back(told: list[Output], sizes: list[int]):
    made = [*chain.from_iterable(pieces(told, _tries(told, sizes)))]
    for level in range(3):
        mine = [output for output in told if output.key.level == level]
        of_level = [piece for piece in made if piece.level == level]
        assert list(unpack(level, "".join(piece.body for piece in of_level))) == mine
        places = ",".join(piece.places for piece in of_level)
        assert [int(place) for place in places.split(",") if place] == [output.key.position for output in mine]


@given(told=st.lists(outputs, min_size=1, max_size=4))
def test_a_later_try_has_the_pieces_of_each_earlier_one(told: list[list[Output]]):
    counts = list(accumulate(map(len, told)))
    everything = [output for some in told for output in some]
    made: list[list[Piece]] = []
    for number, count in enumerate(counts):
        now = pieces(everything[:count], counts[:number])
        assert now[: len(made)] == made
        made = now

"""Property tests of the splitter, with any text and any allowed sizes."""

from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from src.core.text.boundaries import BEST_FIRST, Boundaries, MarkedBoundaries, SoughtBoundaries
from src.core.text.chunks import TooManyChunks, chunks, cuts

_WORDS = ["a", "word ", "Two words. ", "中", "天地玄黄。", "「问？」", "...", "?!", "」", '"', "\x00", "-"]
_BLANKS = ["\n", "\r\n", "\r", "\n\n", "\u2028", "\x85", "\u3000", " "]
_MARKS = ["e\u0301", "\u0301", "👍🏽", "👩\u200d👩\u200d👧", "\u200d", "\ufe0f"]
_HEADINGS = ["# Head\n", "Chapter 3\n", "第三章\n", "Title\n===\n"]
_PIECES = st.sampled_from([*_WORDS, *_BLANKS, *_MARKS, *_HEADINGS])
_TEXTS = st.text(min_size=1, max_size=200) | st.lists(_PIECES, min_size=1, max_size=80).map("".join)
# Texts for the second implementation, which knows neither headings nor other marks of a sentence's end.
_DENSE_TEXTS = st.text("ab. 。」\n\r", min_size=1, max_size=120)
_SPARSE_TEXTS = st.lists(
    st.sampled_from(["a" * 9, "b" * 20, "a", " ", ". ", "。", "」", "\n", "\r\n", "\n\n"]), min_size=1, max_size=40
).map("".join)
_SIZES = st.integers(1, 60).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 1)))
_ROOMY = st.integers(2, 60).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 2)))


@given(_TEXTS, st.integers(1, 60))
@example("x", 1)
@example("\r\n", 1)
def test_without_overlap_the_chunks_partition_the_text(text: str, max_chars: int) -> None:
    """Without overlap the joined chunks are the text, and each chunk has 1 to `max_chars` characters."""
    parts = [text[chunk.start : chunk.end] for chunk in chunks(cuts(text, max_chars), 0)]
    assert "".join(parts) == text
    assert all(1 <= len(part) <= max_chars for part in parts)


@given(_TEXTS, _SIZES)
def test_with_overlap_each_chunk_reaches_back_and_still_fits(text: str, sizes: tuple[int, int]) -> None:
    """A chunk begins `overlap` characters before the end of the previous one, adds text, and fits `max_chars`."""
    max_chars, overlap = sizes
    ends = cuts(text, max_chars, overlap)
    spans = chunks(ends, overlap)
    assert [span.index for span in spans] == list(range(len(ends)))
    assert tuple(span.end for span in spans) == ends
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    for before, span in pairwise(spans):
        assert span.start == max(0, before.end - overlap)
        assert span.end > before.end
    assert all(span.end - span.start <= max_chars for span in spans)


@given(_TEXTS, _SIZES)
def test_the_same_text_and_sizes_give_the_same_cuts(text: str, sizes: tuple[int, int]) -> None:
    """The splitter cuts an equal copy of a text, for example one from a database, at the same places."""
    copy = text.encode("utf-8").decode("utf-8")
    assert cuts(text, *sizes) == cuts(copy, *sizes)


@given(_TEXTS, _SIZES)
def test_the_limit_is_exact(text: str, sizes: tuple[int, int]) -> None:
    """A limit of exactly the needed number of chunks is accepted, and a limit one lower is refused."""
    ends = cuts(text, *sizes)
    assert cuts(text, *sizes, most=len(ends)) == ends
    with pytest.raises(TooManyChunks) as refusal:
        cuts(text, *sizes, most=len(ends) - 1)
    assert refusal.value.most == len(ends) - 1


@given(_TEXTS | st.text("a\r\n", min_size=1), _ROOMY)
@example("a\r\nb", (2, 0))
def test_crlf_stays_together(text: str, sizes: tuple[int, int]) -> None:
    """If each chunk can take two new characters, the splitter cuts no CRLF in two."""
    assert all(text[end - 1 : end + 1] != "\r\n" for end in cuts(text, *sizes)[:-1])


@given(_TEXTS, _SIZES)
def test_no_word_is_cut_where_white_space_lies_in_the_window(text: str, sizes: tuple[int, int]) -> None:
    """The splitter cuts inside a word only if the window in which the cut may lie has no white space."""
    max_chars, overlap = sizes
    before = 0
    for end in cuts(text, max_chars, overlap)[:-1]:
        limit = max(0, before - overlap) + max_chars
        window = text[before:limit]
        if text[end - 1].isalnum() and text[end].isalnum():
            assert not any(character.isspace() for character in window[:-1])
        before = end


@given(_DENSE_TEXTS | _SPARSE_TEXTS, _SIZES)
def test_each_cut_is_the_one_that_a_naive_reading_of_the_rule_gives(text: str, sizes: tuple[int, int]) -> None:
    """A slow second implementation of the splitter, which tries every place in the window, makes the same cuts."""
    max_chars, overlap = sizes
    before = 0
    for end in cuts(text, max_chars, overlap)[:-1]:
        assert end == _naive_cut(text, before, max(0, before - overlap) + max_chars)
        before = end


@given(st.lists(st.sampled_from(["字", "e\u0301", "👍🏽", "👩\u200d👩\u200d👧"]), min_size=1, max_size=60).map("".join))
def test_the_last_resort_parts_no_visible_character(text: str) -> None:
    """Text without any boundary is cut only between whole visible characters: a base with its marks and joiners."""
    ends = cuts(text, 12)[:-1]
    assume(ends)
    for end in ends:
        assert text[end] not in "\u0301\u200d🏽"
        assert text[end - 1] != "\u200d"


def _naive_cut(text: str, before: int, limit: int) -> int:
    if limit - before > 1 and text[limit - 1 : limit + 1] == "\r\n":
        limit -= 1
    quarter = before + -(-(limit - before) // 4)
    places = [(place >= quarter, _naive_kind(text, place), place) for place in range(before + 1, limit + 1)]
    boundaries = [place for place in places if place[1]]
    return max(boundaries)[2] if boundaries else limit


def _naive_kind(text: str, place: int) -> int:
    """Return a boundary's kind: 4 after a blank line, 3 after a line, 2 after a sentence, 1 after a blank, else 0."""
    head, follower = text[:place], text[place : place + 1]
    if head[-1] in "\r\n" and head[-1] + follower != "\r\n":
        return 3 if head.splitlines()[-1].strip() else 4
    if head[-1] in "\r\n":
        return 1
    spoken = head.rstrip(" ").rstrip("」")
    if head[-1] == " ":
        return 2 if spoken.endswith((".", "。")) and follower != " " else 1
    marks = spoken[len(spoken.rstrip(".。")) :]
    goes_on = follower in {" ", "」"} or (head == spoken and follower in {".", "。"})
    return 2 if "。" in marks and not goes_on else 0


_LINE_PIECES = st.sampled_from(
    [*_HEADINGS, "===", "---", "--", "   ===  ", "#", " Part IV\n", "Book I read", "\u3000第1章", "\n", "\r\n", "\n \n"]
)
_USUAL_TEXTS = st.lists(
    st.one_of(_LINE_PIECES, _PIECES.filter(lambda piece: not set(piece) & set("\x85\u2028\r"))), min_size=1, max_size=60
).map("".join)


@given(_USUAL_TEXTS, st.data())
@example("\n \n", None)
def test_searched_boundaries_are_the_marked_ones(text: str, data: st.DataObject | None) -> None:
    """In each part of a text, searching backwards finds the best boundary that marking all boundaries finds."""
    sought, marked = SoughtBoundaries(text), MarkedBoundaries(text)
    spans = [(first, final) for first in range(1, len(text)) for final in range(first - 1, len(text))]
    for first, final in spans if data is None else data.draw(st.lists(st.sampled_from(spans or [(1, 0)]), max_size=20)):
        assert best(sought, first, final) == best(marked, first, final), (first, final)


@pytest.mark.parametrize("filling", ["a" * 3000, ". " * 2000, "." * 3000, "a. " + "b" * 2000, "。）" * 900 + "a" * 900])
def test_a_sentence_is_searched_as_far_as_needed(filling: str) -> None:
    """The end of a sentence far before the limit is found, and so are ends within long runs of marks."""
    text = f"One. {filling} end"
    sought, marked = SoughtBoundaries(text), MarkedBoundaries(text)
    for first in (1, 5, 700, len(text) - 3):
        for final in (first, first + 1, 1700, len(text) - 1):
            assert best(sought, first, final) == best(marked, first, final), (first, final)


def best(among: Boundaries, first: int, final: int) -> tuple[int, int]:
    """Return the best kind of boundary from `first` to `final`, and its last offset there."""
    return next(((kind, at) for kind in BEST_FIRST if (at := among.last(kind, first, final)) != -1), (0, -1))

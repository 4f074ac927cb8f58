"""Property tests of the splitter, with any text and any allowed sizes, and of merging."""

from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st

from src.kernel.domain.limits import MERGE_CHARS_LEAST
from src.kernel.text.chunks import chunks, cuts
from src.kernel.text.merge import merge_chars
from tests.support.chaos_work import merge_groups

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
    parts = [text[chunk.start : chunk.end] for chunk in chunks(cuts(text, max_chars), 0)]
    assert "".join(parts) == text
    assert all(1 <= len(part) <= max_chars for part in parts)


@given(_TEXTS, _SIZES)
def test_with_overlap_each_chunk_reaches_back_and_still_fits(text: str, sizes: tuple[int, int]) -> None:
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


@given(_DENSE_TEXTS | _SPARSE_TEXTS, _SIZES)
def test_each_cut_is_the_one_that_a_naive_reading_of_the_rule_gives(text: str, sizes: tuple[int, int]) -> None:
    max_chars, overlap = sizes
    before = 0
    for end in cuts(text, max_chars, overlap)[:-1]:
        assert end == _naive_cut(text, before, max(0, before - overlap) + max_chars)
        before = end


@given(st.lists(st.sampled_from(["字", "e\u0301", "👍🏽", "👩\u200d👩\u200d👧"]), min_size=1, max_size=60).map("".join))
def test_the_last_resort_parts_no_visible_character(text: str) -> None:
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


OUTPUTS = st.lists(st.text(min_size=1, max_size=40) | st.integers(1, 6000).map("x".__mul__), min_size=2, max_size=60)


@given(OUTPUTS, st.integers(1, 10_000).map(merge_chars))
def test_a_level_is_at_most_half_as_long_and_its_calls_fit(outputs: list[str], most: int):
    groups = merge_groups(outputs, most)
    assert 1 <= len(groups) <= len(outputs) / 2
    assert all(len(group) <= most for group in groups)


@given(st.lists(st.text("abc", min_size=1, max_size=20), min_size=2, max_size=40))
def test_what_fits_is_kept_whole_and_in_order(outputs: list[str]):
    groups = merge_groups(outputs, MERGE_CHARS_LEAST)
    assert "\n\n".join(groups) == "\n\n".join(outputs)


def test_long_outputs_share_a_call_and_are_marked():
    (group,) = merge_groups(["short", "y" * 5000], 2000)
    short, long = group.split("\n\n")
    assert short == "short"
    assert long.endswith("y […]")
    assert 1900 < len(group) <= 2000

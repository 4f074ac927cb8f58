"""A property of long texts: a file that is read in slices is cut at the same places as if its text were whole."""

from collections.abc import Iterator
from itertools import chain, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.features.texts.file_cuts import CutAt, FileCuts, TextFault, text_of
from src.kernel.domain import limits
from src.kernel.text import chunks
from src.kernel.text.chunks import TooManyChunks, cuts, cuts_between, cuts_in_portions
from tests.support.text_bench import look_near
from tests.support.tiers import sized

(RUNS,) = sized(quick=(60,), test=(400,), campaign=(30_000,))
# How long a heading or a sentence's end may be in these tests, so that short texts have slices that see only parts.
MARK_CHARS = 12

_WORDS = ["a", "word ", "Two words. ", "x" * 30, "中", "天地玄黄。", "「问？」", "...", "?!", "」", '"', "-", "¶"]
_BLANKS = ["\n", "\r\n", "\r", "\n\n", "\u2028", "\x85", "\u3000", " ", " " * 20, "\n\n\n\n"]
_MARKS = ["e\u0301", "\u0301", "👍🏽", "👩\u200d👩\u200d👧", "\u200d", "\ufe0f", "\ufeff", "\U0010ffff"]
_HEADINGS = ["# Head\n", "\nChapter 3\n", "第三章\n", "Title\n===\n", "===\n", "---\n", "=" * 20 + "\n"]
_HEADINGS += ["\nLong title ", "#"]
_RUNS = ["." * 30, "。" * 25, ")" * 20, ".)" * 9, "=" * 40, "-\n" * 8, "===\n" * 6]
_PIECES = st.sampled_from([*_WORDS, *_BLANKS, *_MARKS, *_HEADINGS, *_RUNS])
_TEXTS = st.text(min_size=1, max_size=200) | st.lists(_PIECES, min_size=1, max_size=120).map("".join)
# Texts in which a mark, a blank line or a heading is likely to be cut in two.
_DENSE_TEXTS = st.lists(
    st.text("ab. 。)」\n\r=-# \u3000", min_size=1, max_size=6)
    | st.sampled_from(
        [" " * 11, "." * 11, "。" + ")" * 10, "。" + ")" * 11 + " ", "x" * 11, "T" * 12 + "\n" + "=" * 12, "\r\n"]
    ),
    min_size=20,
    max_size=60,
).map("".join)
_SIZES = st.integers(1, 60).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 1)))


@pytest.fixture(autouse=True, scope="module")
def near() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        look_near(patch, MARK_CHARS)
        yield


def clean(text: str) -> str:
    return text.encode(errors="ignore").decode().replace("\0", "").lstrip("\ufeff") or "x"


def in_slices(
    content: bytes, max_chars: int, overlap: int, portion_bytes: int, most: int = 10_000
) -> tuple[list[int], list[int]]:
    at = CutAt()
    ends: list[int] = []
    byte_ends: list[int] = []
    while True:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "CHUNKS_MOST", most)
            patch.setattr(limits, "TEXT_PORTION_BYTES", portion_bytes)
            one = FileCuts(len(content), max_chars, overlap, at)
        if one.is_over:
            return ends, byte_ends
        first, behind = one.wanted
        assert behind - first <= 2 * (portion_bytes + 4 * (max_chars + 4 * chunks.LOOK_CHARS))
        found = one.feed(content[first:behind])
        assert found.at.bytes > at.bytes
        assert (found.start is not None) == (at == CutAt())
        byte_ends += [] if found.start is None else [found.start]
        ends += found.ends
        byte_ends += found.byte_ends
        at = one.at
        assert (at.chars, at.bytes, at.chunks) == (ends[-1], byte_ends[-1], len(ends))


@settings(max_examples=RUNS, deadline=None)
@given(_TEXTS, _SIZES, st.integers(1, 400), st.booleans())
@example("x\n" * 400 + "===\n" * 60, (5, 0), 1, False)
@example("." * 900 + " x", (7, 3), 1, True)
@example("\r\n" * 300, (2, 1), 1, False)
def test_slices_are_cut_like_the_whole(text: str, sizes: tuple[int, int], portion_bytes: int, has_bom: bool) -> None:
    text, bom = clean(text), b"\xef\xbb\xbf" if has_bom else b""
    content = bom + text.encode()
    ends, byte_ends = in_slices(content, *sizes, portion_bytes)
    assert tuple(ends) == cuts(text, *sizes)
    assert byte_ends == [len(bom) + len(text[:end].encode()) for end in (0, *ends)]


@settings(max_examples=RUNS, deadline=None)
@given(_TEXTS | _DENSE_TEXTS, _SIZES, st.integers(1, 120))
def test_a_text_in_memory_is_cut_in_slices_too(text: str, sizes: tuple[int, int], portion_chars: int) -> None:
    ends = cuts(text, *sizes)
    slices = list(cuts_in_portions(text, *sizes, portion_chars, most=len(ends)))
    assert tuple(chain.from_iterable(slices)) == ends
    with pytest.raises(TooManyChunks) as refused:
        list(cuts_in_portions(text, *sizes, portion_chars, most=len(ends) - 1))
    assert refused.value.most == len(ends) - 1


@settings(max_examples=RUNS, deadline=None)
@given(_DENSE_TEXTS, st.integers(1, 24).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 1))))
@example("x" * 40 + " " * 14 + "\n" + "x" * 9, (30, 0))
@example("。" + ")" * 30 + " ab ab", (16, 0))
@example("Title\n" * 3 + "===\n" * 9, (9, 0))
def test_each_cut_depends_on_the_text_near_it_alone(text: str, sizes: tuple[int, int]) -> None:
    (max_chars, overlap), near = sizes, chunks.LOOK_CHARS
    for start, end in pairwise((0, *cuts(text, *sizes))):
        origin = max(0, start - near)
        behind = max(0, start - overlap) + max_chars + near + 1
        is_end = behind >= len(text)
        found = cuts_between(text[origin:behind], origin, start, max_chars, overlap, most=None, is_end=is_end)
        assert found[0] == end


@settings(max_examples=RUNS, deadline=None)
@given(_TEXTS, _SIZES, st.integers(0, 30), st.integers(0, 100))
def test_a_part_of_a_file_gives_the_text_of_its_chunks(
    text: str, sizes: tuple[int, int], first: int, before: int
) -> None:
    text = clean(text)
    content = text.encode()
    ends, byte_ends = in_slices(content, sizes[0], 0, 50)
    index = min(first, len(ends) - 1)
    start = max(0, byte_ends[index] - before)
    chunk = text[ends[index - 1] if index else 0 : ends[index]]
    assert text_of(content[start : byte_ends[index + 1]], len(chunk)) == chunk


@given(_TEXTS, _SIZES, st.integers(1, 400))
def test_the_limit_is_exact(text: str, sizes: tuple[int, int], portion_bytes: int) -> None:
    text = clean(text)
    content, needed = text.encode(), len(cuts(text, *sizes))
    assert len(in_slices(content, *sizes, portion_bytes, needed)[0]) == needed
    with pytest.raises(TooManyChunks):
        in_slices(content, *sizes, portion_bytes, needed - 1)


@given(st.binary(max_size=300), st.lists(_PIECES, max_size=40).map("".join), st.integers(1, 100))
def test_bytes_that_are_no_text_are_refused(noise: bytes, text: str, portion_bytes: int) -> None:
    content = text.encode() + noise
    try:
        whole = content.removeprefix(b"\xef\xbb\xbf").decode()
        is_text = bool(whole) and "\0" not in whole
    except UnicodeDecodeError:
        is_text = False
    try:
        found = bool(in_slices(content, 9, 0, portion_bytes)[0])
    except TextFault:
        found = False
    assert found == is_text

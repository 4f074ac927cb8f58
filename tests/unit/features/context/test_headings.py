"""The headings of a text, and the path of headings above each chunk."""

import random
from itertools import pairwise

import pytest

from src.features.context import headings
from src.features.context.headings import PATH_CHARS_MOST, Heading, Paths, StoredPaths, headings_in
from src.features.context.prompt import free_number, numbers_in
from src.kernel.text.chunks import cuts
from tests.support.steps import counted
from tests.support.tiers import sized


@pytest.mark.parametrize(
    ("text", "level", "title"),
    [
        ("# One\n", 1, "One"),
        ("   ###### Six ##\n", 6, "Six"),
        ("Title\n=====\n", 1, "Title"),
        ("Part of it\n---\n", 2, "Part of it"),
        ("1.2 Terms of use\n", 3, "1.2 Terms of use"),
        ("text\n1.2.3. Payment\nmore\n", 4, "1.2.3. Payment"),
        ("\n4 Warranty\n\n", 2, "4 Warranty"),
        ("3. 保密义务\n", 2, "3. 保密义务"),
        ("第三章　违约责任\n", 2, "第三章 违约责任"),
        ("第十二节\n", 3, "第十二节"),
        ("第一编\n", 0, ""),
        ("第一部：开端\n", 1, "第一部：开端"),
        ("CHAPTER IV\n", 2, "CHAPTER IV"),
        ("Book 2: The Return\n", 1, "Book 2: The Return"),
        ("Section 12 — Notices\n", 3, "Section 12 — Notices"),
        ("one\n\nGOVERNING LAW\n\ntwo\n", 2, "GOVERNING LAW"),
        ("ПРЕДМЕТ ДОГОВОРА\n", 2, "ПРЕДМЕТ ДОГОВОРА"),
        ("#hashtag\n", 0, ""),
        ("####### seven\n", 0, ""),
        ("# #\n", 0, ""),
        ("- item\n---\n", 0, ""),
        ("one\n4 Warranty\ntwo\n", 0, ""),
        ("1. buy milk\n", 0, ""),
        ("2. It was the best of times.\n", 0, ""),
        ("Book I read\n", 0, ""),
        ("NATO JOINED.\n", 0, ""),
        ("a\nNATO JOINED\nb\n", 0, ""),
        ("USA\n", 0, ""),
        ("1921 – 1922\n", 0, ""),
        ("第三章里说的\n", 0, ""),
    ],
)
def test_a_line_is_a_heading_or_none(text: str, level: int, title: str) -> None:
    assert [heading for _, heading in headings_in(text)] == ([Heading(level, title)] if level else [])


def above(text: str, ends: tuple[int, ...]) -> list[str]:
    paths = Paths()
    spans = list(pairwise((0, *ends)))
    stored = StoredPaths("".join(paths.add(index, text[start:end]) for index, (start, end) in enumerate(spans)))
    return [stored.above(index, text[start:end]) for index, (start, end) in enumerate(spans)]


TEXT = "# Law\n\nintro one\n\n## Terms\n\nterms one\n\nterms two\n\n### Fees\n\nfees\n\n## End\n\nend one\n\nend two\n"


def test_the_path_has_the_headings_that_contain_a_chunk() -> None:
    """A chunk that begins with a heading is below those of lower levels alone."""
    ends = tuple(
        TEXT.index(word) for word in ("intro", "## Terms", "terms two", "### Fees", "fees\n", "## End", "end two")
    )
    found = above(TEXT, (*ends, len(TEXT)))
    assert found == ["", "Law", "Law", "Law > Terms", "Law > Terms", "Law > Terms > Fees", "Law", "Law > End"]


def test_a_path_has_at_most_500_characters() -> None:
    """The outermost headings go first, and a long title is cut."""
    text = "".join(f"{'#' * level} {'文' * 40 * level}\n\n" for level in range(1, 7))
    path = above(text + "x", (len(text), len(text) + 1))[1]
    assert len(path) <= PATH_CHARS_MOST
    assert path.endswith("文" * 119 + "…")
    assert not path.startswith("文" * 40 + " ")


PIECES = (
    "# A\n",
    "## B b\n",
    "1.1 Cc\n",
    "1.1.2 Dd\n",
    "第二章 戊\n",
    "CAPITALS HERE\n\n",
    "\n",
    "words in a line\n",
    "Under\n---\n",
    "word ",
)


def test_a_path_depends_on_what_is_before_the_chunk_alone() -> None:
    """Text that is appended changes no path, however the text is cut; a stored path is the one that was found."""
    for seed in range(sized(quick=50, test=200, campaign=2_000)):
        draw = random.Random(seed)
        text = "".join(draw.choices(PIECES, k=draw.randint(5, 40)))
        ends = cuts(text, draw.randint(3, 60))
        found = above(text, ends)
        more = "".join(draw.choices(PIECES, k=10))
        assert above(text + more, (*ends, len(text + more)))[: len(found)] == found, seed
        for index, (start, _) in enumerate(pairwise((0, *ends))):
            assert above(text[:start] + text[start:], ends)[index] == found[index]


def test_a_search_for_headings_takes_linear_time() -> None:
    for line in ("# " + " #" * 40 + "a\n", "1.1.1.1 A" * 8, "AAAA ", "x\n---\n", "第" * 9):

        def steps(times: int, line: str = line) -> int:
            with counted(headings) as counts:
                list(headings_in(line * times))
            return counts.lines

        assert steps(2_000) <= 11 * steps(200) + 100


def test_the_marks_have_the_least_free_number() -> None:
    assert free_number(numbers_in("no marks", "[[onceover- 1 text]]")) == 1
    assert free_number(numbers_in("[[onceover-1 text]] [[onceover-3", "[[onceover-2 end]]")) == 4
    assert free_number(numbers_in("[[onceover-2 text]] [[onceover-10]]")) == 1

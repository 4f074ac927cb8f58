"""Each rule of the splitter by example, the cost of splitting a megabyte, and the estimate of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.text import chunks as splitter
from src.kernel.text.chunks import Chunk, TooManyChunks, chunks, cuts
from src.kernel.text.tokens import estimated_tokens
from tests.support.steps import counted

_MEGABYTE = 1_000_000


def parts(text: str, max_chars: int, overlap: int = 0) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in chunks(cuts(text, max_chars, overlap), overlap)]


@pytest.mark.parametrize(
    ("text", "max_chars", "expected"),
    [
        ("Intro text.\n\nMore.\n# Next\nbody body", 28, ["Intro text.\n\nMore.\n", "# Next\nbody body"]),
        ("Intro text.\n\nMore.\nNext\n====\nbody", 30, ["Intro text.\n\nMore.\n", "Next\n====\nbody"]),
        ("Some text.\n\nMore.\nChapter 3\nand so on", 30, ["Some text.\n\nMore.\n", "Chapter 3\nand so on"]),
        ("Some text.\n\nMore.\nCHAPTER IV. Rain\nend", 36, ["Some text.\n\nMore.\n", "CHAPTER IV. Rain\nend"]),
        ("开头的话。\n\n又一段。\n第三章\n正文在此", 17, ["开头的话。\n\n又一段。\n", "第三章\n正文在此"]),
        ("开头的话。\n\n又一段。\n第三回 风雪\n正文", 19, ["开头的话。\n\n又一段。\n", "第三回 风雪\n正文"]),
    ],
)
def test_a_heading_is_the_best_place_and_opens_its_chunk(text: str, max_chars: int, expected: list[str]) -> None:
    assert parts(text, max_chars) == expected


@pytest.mark.parametrize(
    "line",
    ["#hashtag", "Part of the plan", "Book I read twice", "第三次握手", "第三回他们走了", "--", "Chapterhouse 3"],
)
def test_a_line_that_only_resembles_a_heading_is_none(line: str) -> None:
    text = f"Some text.\n\nmore\n{line}\n"
    assert parts(text + "the rest of it", len(text))[0] == "Some text.\n\n"


def test_a_blank_line_beats_later_lines_sentences_and_words() -> None:
    assert parts("One two.\n \t\nThree. Four\nfive six", 26) == ["One two.\n \t\n", "Three. Four\nfive six"]
    assert parts("第一段。\r\n\r\n第二段。还有\n一行", 14) == ["第一段。\r\n\r\n", "第二段。还有\n一行"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85"])
def test_every_line_end_is_known_and_beats_sentences(end: str) -> None:
    assert parts(f"first line{end}Second. Third fourth", 22)[0] == f"first line{end}"


@pytest.mark.parametrize(
    ("text", "max_chars", "first"),
    [
        ("It rained. He left it there", 16, "It rained. "),
        ('"It rained!" he said to them', 18, '"It rained!" '),
        ("He paid 3.14 e.g.for bread here", 24, "He paid 3.14 e.g.for "),
        ("雨下了一夜。他没有走开", 9, "雨下了一夜。"),
        ("他问：「走吗？」没有人回答", 11, "他问：「走吗？」"),
        ("“下雪了……”他说了又说", 10, "“下雪了……”"),
        ("风停；雨住了又来过", 6, "风停；"),
    ],
)
def test_a_sentence_ends_after_its_marks_and_what_closes_it(text: str, max_chars: int, first: str) -> None:
    assert parts(text, max_chars)[0] == first


def test_words_are_kept_whole_with_any_white_space_between() -> None:
    assert parts("alpha beta gamma", 12) == ["alpha beta ", "gamma"]
    assert parts("alpha\u3000beta\u2003gamma", 12) == ["alpha\u3000beta\u2003", "gamma"]


def test_a_mark_with_no_end_is_cut_all_the_same() -> None:
    assert parts("a" + "\u0301" * 50, 20) == ["a" + "\u0301" * 19, "\u0301" * 20, "\u0301" * 11]


def test_a_better_kind_that_leaves_the_chunk_nearly_empty_gives_way() -> None:
    text = "Hi.\n\n" + "Word word word end. " + "tail " * 5
    assert parts(text, 26)[0] == "Hi.\n\nWord word word end. "
    assert parts(text, 20)[0] == "Hi.\n\n"


def test_the_best_kind_counts_anywhere_if_no_kind_reaches_the_quarter() -> None:
    assert parts("a b\nc " + "x" * 60, 40)[0] == "a b\n"
    assert parts("a b c " + "x" * 60, 40)[0] == "a b c "
    assert parts("。" + "字" * 60, 40)[0] == "。"


@pytest.mark.parametrize(
    ("text", "size", "overlap"), [("", 5, 0), ("a", 0, 0), ("a", 3, 3), ("a", 3, -1), ("a", -1, 0)]
)
def test_sizes_that_make_no_sense_are_our_own_mistake(text: str, size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="needs a text"):
        cuts(text, size, overlap)


def test_too_many_chunks_are_refused_before_the_work_is_done() -> None:
    with counted(splitter) as steps, pytest.raises(TooManyChunks, match="more than 2000 chunks") as refusal:
        cuts("\n" * _MEGABYTE, 1, most=2000)
    assert steps.lines < 50
    assert refusal.value.most == 2000


_PINNED = (
    "# Title\n\nFirst paragraph. It has two sentences, the second longer than the first.\n\n"
    "Chapter 1\n\nHard wrapped lines are\nused in here, so that\nlines matter too.\r\n\r\n"
    "第一章 开始\n\n他问：「你是谁？」没有人回答。雪下了一夜，天亮时停了；他走了……\n"
    "Emoji 👩\u200d👩\u200d👧\u200d👦👍🏽 and cafe\u0301.\n"
    "Setext\n------\nEnd_without_any_boundary_at_all_in_the_last_line"
)


@pytest.mark.parametrize(
    ("max_chars", "overlap", "expected"),
    [
        (400, 0, "290"),
        (120, 0, "83 160 228 290"),
        (60, 0, "26 83 139 160 201 228 242 290"),
        (60, 20, "26 66 83 94 117 139 160 200 228 242 282 290"),
        (25, 0, "9 26 48 71 83 94 117 139 160 168 183 201 221 228 242 267 290"),
        (
            10,
            0,
            (
                "9 15 25 33 37 47 52 59 66 75 83 93 99 107 117 125 134 139 145 152 160 168 177 183 193 201 207 217 "
                "221 228 235 242 252 262 272 282 290"
            ),
        ),
        (
            10,
            7,
            (
                "9 12 15 18 21 24 26 29 32 33 36 37 40 43 46 48 51 52 55 58 59 62 65 66 69 71 74 75 78 81 83 86 89 "
                "91 94 97 99 102 105 107 110 113 116 117 120 122 125 128 131 134 137 139 142 145 148 151 152 155 "
                "158 160 163 164 167 168 171 174 177 180 183 186 189 192 195 198 201 204 207 210 213 216 217 220 "
                "221 224 227 228 231 234 235 238 241 242 245 248 251 254 257 260 263 266 269 272 275 278 281 284 "
                "287 290"
            ),
        ),
        (
            3,
            1,
            (
                "2 4 6 8 9 11 13 15 17 19 21 23 25 26 28 29 31 33 35 37 39 41 43 45 47 48 50 52 54 56 58 59 61 63 "
                "65 66 68 70 71 73 75 77 79 81 83 85 87 89 91 93 94 96 98 99 101 103 105 107 109 111 113 115 117 "
                "119 121 122 124 125 127 129 131 133 134 136 138 139 141 143 145 147 149 151 152 154 156 158 160 "
                "162 164 166 168 170 172 174 176 177 179 181 183 185 187 189 191 193 195 197 199 201 203 205 207 "
                "209 211 213 214 216 217 219 221 223 224 226 228 230 232 234 235 237 239 241 242 244 246 248 250 "
                "252 254 256 258 260 262 264 266 268 270 272 274 276 278 280 282 284 286 288 290"
            ),
        ),
    ],
)
def test_the_cuts_are_pinned(max_chars: int, overlap: int, expected: str) -> None:
    """The splitter's cuts of a text never change: that is a promise to clients."""
    assert cuts(_PINNED, max_chars, overlap) == tuple(map(int, expected.split()))


_MEGABYTES = {
    "English": "It was the best of times, it was the worst of times.\nIt was the age of wisdom. ",
    "wrapped": "It was the best of times\nit was the worst of times\n\n",
    "Chinese": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。\n",
    "no boundary": "x",
    "Chinese without marks": "字",
    "hashes": "#",
    "hash lines": "#\n",
    "newlines": "\n",
    "carriage returns": "\r",
    "CRLF": "\r\n",
    "spaces": " ",
    "full stops": ".",
    "closing quotes": '."',
    "Chinese stops": "。",
    "combining marks": "\u0301",
    "joiners": "\u200d",
    "emoji": "👩\u200d👩\u200d👧\u200d👦",
    "headings": "Chapter 1\n",
    "half headings": "Chapter ",
    "Chinese half headings": "第一",
    "underlines": "a\n===\n",
    "dashes": "-",
    "one letter a line": "a\n",
    "blank lines": "a\n \n",
}


def _repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


@pytest.mark.slow
@pytest.mark.parametrize("unit", _MEGABYTES.values(), ids=_MEGABYTES.keys())
@pytest.mark.parametrize(("max_chars", "overlap"), [(6000, 0), (6000, 3000), (20, 0)])
def test_the_work_grows_with_the_text_alone(unit: str, max_chars: int, overlap: int) -> None:
    """For any text, friendly or hostile, the splitter runs at most ten lines of Python for each character."""
    text = _repeated(unit, 50_000)
    with counted(splitter) as steps:
        cuts(text, max_chars, overlap)
    assert steps.lines <= 10 * len(text)


@pytest.mark.parametrize("unit", _MEGABYTES.values(), ids=_MEGABYTES.keys())
def test_a_megabyte_is_split(unit: str) -> None:
    """A backtracking regular expression runs no line of Python, but could take hours for a megabyte."""
    assert cuts(_repeated(unit, _MEGABYTE), 6000)[-1] == _MEGABYTE


ALPHABET = "ab \né字龍かカ한，。😀\U00020000"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("é" * 8, 2),
        ("字", 1),
        ("祥林嫂", 3),
        ("かなカナ", 4),
        ("한국어", 3),
        ("，。", 2),
        ("字abcd字", 3),
        ("字abcde", 3),
        ("\U00020000\U0002f800", 2),
        ("😀😀😀😀", 1),
    ],
)
def test_rule(text: str, tokens: int) -> None:
    assert estimated_tokens(text, [Chunk(0, 0, len(text))], "") == tokens


@given(st.text(ALPHABET, min_size=1, max_size=60), st.integers(1, 20), st.data(), st.text(ALPHABET, max_size=20))
def test_calls_add_up(text: str, most: int, drawn: st.DataObject, instructions: str) -> None:
    overlap = drawn.draw(st.integers(0, most - 1))
    planned = chunks(cuts(text, most, overlap), overlap)
    alone = [
        estimated_tokens(part, [Chunk(0, 0, len(part))], instructions)
        for part in (text[chunk.start : chunk.end] for chunk in planned)
    ]
    assert estimated_tokens(text, planned, instructions) == sum(alone)

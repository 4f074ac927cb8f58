"""Quotations are found in their source: exactly, or with the disguises that models put on. Nothing else is found."""

import json
import random
import re
import unicodedata
from functools import partial
from itertools import pairwise

import pytest

from src.features.quotes import matching
from src.features.quotes.matching import Folded, QuotedText, Stretch
from src.kernel.calls.protocol import ModelReply
from src.kernel.run.kinds import CallSource
from src.kernel.store.claims import CallKey
from tests.support.steps import counted
from tests.support.tiers import sized
from tests.unit.features.quotes.test_rule import QUOTE, closed, reply_with, rule_of

# Texts of six scripts, with marks, dashes, numbers and line ends.
TEXTS = {
    "Latin": (
        "The so-called “Treaty of Åland” — signed on 12 May 1921 — didn’t cede the islands; it demili-\ntarised them. "
        "Café owners\u00a0paid 1\u202f250,50\u00a0€ in 1922–1924, “naïvely”, said O’Brien (see §§ 4–7 of the ﬁnal "
        "re\u00adport).\n\nNobody’s well-\nknown ﬂeet re-entered the harbour … until 1930.\r\n"
    ),
    "Cyrillic": (
        "Договор «О границе» был подписан 3 мая 1921 года — в г. Тарту;\nсторо-\nны обменялись грамотами…  Ёлка й "
        "другая.\n"
    ),
    "Chinese": (
        "第三条　甲方应于二〇二一年三月五日前，向乙方支付人民币１２３４．５０元（大写：“壹仟贰佰”）。\n逾期\n不付的，"
        "按《合同法》处理；\u3000违约金为５％。\n"
    ),
    "Japanese": (
        "契約の当事者は、「甲」及び「乙」とする。ﾃﾞｰﾀの保存期間は２０２１年４月から\n３年間とし、ガギグは濁点。か\u3099\n"
    ),
    "Arabic": "وقّعت الاتفاقية في ٣ مايو ١٩٢١، وقال الوزير: «لن نتراجع» — ثم غادر\nالقاعة.\n",
    "Devanagari": "संधि पर ३ मई १९२१ को हस्ताक्षर हुए — “हम पीछे नहीं\u200d हटेंगे”, मंत्री ने कहा।\nक़ानून लागू हुआ।\n",
}
_MARKS = "'\"’‘”“«»„「」`"
_DASHES = "-–—−‐"
_LETTERS = re.compile(r"[A-Za-z\u0410-\u044f\u05d0-\u064a\u3400-\u9fff]{2}")
_SPACES = (" ", "  ", "\n", "\u00a0", "\t", "\u2009", "\r\n ")


def disguised(quote: str, draw: random.Random) -> str:
    """Return a quotation as a model may write it, which folds to the same."""
    written = []
    joined = re.sub(r"(?<=[^\W\d_])[-\xad\u2010]\s*\n\s*(?=[^\W\d_])", "", quote)
    for char, behind in pairwise(joined + " "):
        others = next((all_ for all_ in (_MARKS, _DASHES, _SPACES) if char in all_), (char,))
        if len(others) == 1 and "!" <= char <= "~" and draw.random() < 0.05:
            others = (chr(ord(char) + 0xFEE0),)
        written.append(draw.choice(others))
        if draw.random() < 0.02 and _LETTERS.fullmatch(char + behind):
            written.append(draw.choice("\xad\u200b\ufeff"))
    text = "".join(written)
    return unicodedata.normalize(draw.choice(("NFC", "NFD", "NFKC", "NFKD")), text)


def span_of(text: str, draw: random.Random) -> Stretch:
    """Draw a part of a text that begins and ends with whole words or, without spaces, whole characters."""
    edges = [
        0,
        *(
            match.start()
            for match in re.finditer(r"(?<=[\s。，、；：])(?<!-\n)\S|[\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff]", text)
        ),
        len(text),
    ]
    first, last = sorted(draw.sample(range(len(edges)), 2))
    part = text[edges[first] : edges[last]]
    start = edges[first] + len(part) - len(part.lstrip())
    return Stretch(start, edges[first] + len(part.rstrip()))


def invented(quote: str) -> str:
    """Return a quotation with a letter that is in no text."""
    middle = len(quote) // 2
    return f"{quote[:middle]}Ж漢{quote[middle:]}"


@pytest.mark.parametrize("script", TEXTS)
def test_disguised_quotations_are_found_where_they_stand(script: str) -> None:
    """A quote is the input's own text at its offsets, and folds to what the model wrote. An invented one is null."""
    rule = rule_of(closed(a={"type": "array", "items": QUOTE}))
    cases = found = 0
    seed = random.randrange(10**9)
    for case in range(seed, seed + sized(quick=20, test=60, campaign=400)):
        draw = random.Random(case)
        text = "".join(draw.choice((TEXTS[script], draw.choice(list(TEXTS.values())))) for _ in range(3))
        origin = draw.randrange(50)
        given = "·" * origin + text
        wanted = [one for one in (text[slice(*span_of(text, draw))] for _ in range(5)) if one]
        said = [disguised(one, draw) for one in wanted]
        value = [one for quote in said for one in (quote, invented(quote), None)]
        answer = rule.judge(CallKey(0, 0), reply_with({"a": value}), partial(CallSource, text, origin))
        assert isinstance(answer, ModelReply)
        own = [given[quote.start : quote.end] for quote in answer.quotes]
        assert [quote.pointer for quote in answer.quotes] == [f"/a/{3 * at}" for at in range(len(said))], (case, said)
        assert json.loads(answer.output)["a"] == [one for quote in own for one in (quote, None, None)], case
        assert answer.quotes_missed == len(said)
        assert [folded(quote) for quote in own] == [folded(quote) for quote in said], case
        cases += len(own)
        found += sum(map(str.__eq__, own, wanted))
    assert found > 0.9 * cases > 0


def folded(quote: str) -> str:
    return Folded(quote.strip(), "").text.strip()


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("the therapist", "the rapist"),
        ("now here", "nowhere"),
        ("a fact", "A fact"),
        ("paid 1,250", "paid 1250"),
        ("ﬁnd", "ind"),
        ("½ cup", "1"),
        ("cafe\u0301 x", "cafe  x"),
        ("resign", "re-sign"),
        ("one two", "one three"),
        ("text", ""),
        ("a  b", " \n"),
        ("a", "\xad"),
        ("", "a"),
        ("的", "地"),
    ],
)
def test_what_is_not_there_is_not_found(text: str, quote: str) -> None:
    assert QuotedText(text).find(quote) is None


@pytest.mark.parametrize(
    ("text", "quote", "own"),
    [
        ("an exam-\n  ple here", "example", "exam-\n  ple"),
        ("a well-\nknown one", "well-known", "well-\nknown"),
        ("soft\xadware", "software", "soft\xadware"),
        ("，你好， 世界", "你好,世界", "你好， 世界"),
        ("用 Python 写", "用Python写", "用 Python 写"),
        ("cafe\u0301", "café", "cafe\u0301"),
        ("한국어", unicodedata.normalize("NFD", "한국어"), "한국어"),
        ("ｶﾞｷﾞ", "ガギ", "ｶﾞｷﾞ"),
        ("1\u00a0250 €", "1 250 €", "1\u00a0250 €"),
        ("x \xad y", "x y", "x \xad y"),
        ("He said: “No.”", 'said: "No."', "said: “No.”"),
        ("a…b", "a...b", "a…b"),
        ("\xadfoo\xad bar", "foo  bar", "foo\xad bar"),
    ],
)
def test_disguises_are_folded(text: str, quote: str, own: str) -> None:
    assert (found := QuotedText(text).find(quote)) is not None
    assert text[found.start : found.end] == own


def test_the_next_place_behind_the_last_quotation_is_taken() -> None:
    """Of several places the next one counts, and behind the last one the first of all; an exact one comes first."""
    source = QuotedText("a–b, a–b, a–b, a-b")
    assert source.find("a–b") == (0, 3)
    assert source.find("a–b", 3) == (5, 8)
    assert source.find("a–b", 14) == (0, 3)
    assert source.find("a—b", 3) == (5, 8)
    assert source.find("a—b", 16) == (0, 3)
    assert source.find("a-b", 0) == (15, 18)


def test_characters_that_are_said_to_fold_to_themselves_do() -> None:
    plain = re.compile(f"[{matching._PLAIN}]")
    for code in [*range(0xD800), *range(0xE000, 0x110000)]:
        if plain.match(char := chr(code)):
            assert matching._character(char) == char, f"{code:x}"
            assert not matching._joins(char), f"{code:x}"


def test_a_search_takes_linear_time() -> None:
    """A quotation in a chunk that is ten times as long takes ten times the steps of a tenth of both."""

    def steps(size: int, unit: str) -> int:
        text = unit * (size // len(unit))
        quotes = text[: size // 10 - 1] + "x", text[1 : size // 10].replace("–", "—") + "y"
        with counted(matching) as counts:
            for quote in quotes:
                QuotedText(text).find(quote)
        return counts.lines

    for unit in ("ﬁ", "a ", "a–b", "的，", "e\u0301", "a-\nb", "word word\n"):
        size = sized(quick=20_000, test=20_000, campaign=100_000)
        assert 0 < steps(size, unit) < 12 * steps(size // 10, unit) + 1_000, unit

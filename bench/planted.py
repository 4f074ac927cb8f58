"""Plants facts in public-domain prose, and scores what a task has found of them. Everything follows from seeds.

The prose is that of `examples/`: its paragraphs, in a random order. A fact is a loan, with a person, a date and an
amount. It stands in one sentence, or its person is named two paragraphs before. Some loans are told twice, with two
amounts, which is a contradiction: both versions are facts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
LANGUAGES: Final = ("english", "chinese")
_DRAWS: Final = 1_000  # of a bootstrap
_FILLER_CHARS: Final = 150  # at most, between a person and the loan

_NAMES: Final = {
    "english": (
        "Ambrose Barnaby Clement Dorcas Edmund Felicity Gideon Hester Ichabod Jemima Kenelm Lavinia Mortimer Ottilie",
        "Ashgrove Birkbeck Cotterell Dunmore Everdene Garraway Holloway Inskip Jessop Kirkbride Loxley Mossop Oakshott",
    ),
    "chinese": ("欧 阎 岑 邬 郝 龚 萧 褚 蒋 魏", "承志 怀瑾 明远 若兰 思齐 子衿 望舒 清扬 景行 嘉树"),
}
_MONTHS: Final = "January February March April May June July August September October November December"
_WHOLE: Final = {
    "english": "On {date} {person} lent {amount} pounds to the parish of St. Anne.",
    "chinese": "{date}，{person}借给县里{amount}元。",
}
_APART: Final = {
    "english": (
        "The ledger now turns to {person}.",
        "On {date} the person of this page of the ledger lent {amount} pounds.",
    ),
    "chinese": ("账簿翻到{person}这一页。", "{date}，账簿这一页上的人借出{amount}元。"),
}
_OTHERWISE: Final = {
    "english": "A letter says that on {date} {person} lent {amount} pounds.",
    "chinese": "另有一封信说，{date}，{person}借出的是{amount}元。",
}
INSTRUCTIONS: Final = (
    "List each loan of money in the text once: the person who lends, the date as the text has it, the amount as a "
    "number, and as quote the sentence with the amount, word for word. A text without a loan has an empty list."
)


def _required(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


_LOAN: Final = _required(
    person={"type": "string"},
    date={"type": "string"},
    amount={"type": "integer"},
    quote={"type": ["string", "null"], "x-onceover": "quote"},
)


def schema(chunk_chars: int) -> dict[str, Any]:
    """Return the schema of a chunk's loans. A small model repeats itself until it may not go on."""
    return _required(loans={"type": "array", "items": _LOAN, "maxItems": max(6, chunk_chars // 125)})


class Fact(NamedTuple):
    """A loan, and where the sentence with its amount stands in the text."""

    person: str
    date: str
    amount: int
    start: int = 0
    end: int = 0


class Planted(NamedTuple):
    """A text, its facts, and the indices of the two facts of each contradiction."""

    text: str
    facts: Sequence[Fact]
    contradictions: Sequence[tuple[int, int]]


def plant(language: str, chars: int, count: int, seed: int) -> Planted:
    """Make a text of about so many characters with loans at random places: each fourth is contradicted elsewhere."""
    rng = Random(f"{language} {seed}")  # noqa: S311
    source = (EXAMPLES / f"{language}.txt").read_text("utf-8")
    prose = [one.strip() for one in source.split("\n\n") if one.strip()]
    paragraphs: list[str] = []
    while sum(map(len, paragraphs)) < chars:
        paragraphs += rng.sample(prose, len(prose))
        while sum(map(len, paragraphs[:-1])) >= chars:
            paragraphs.pop()
    first, last = (names.split() for names in _NAMES[language])
    between = "" if language == "chinese" else " "
    fillers = [one for one in prose if len(one) < _FILLER_CHARS]
    people = rng.sample([f"{one}{between}{other}" for one in first for other in last], count)
    amounts = rng.sample(range(1_001, 99_999), 2 * count)
    loans = [(person, 1_700 + rng.randrange(200), rng.randint(1, 12), rng.randint(1, 28)) for person in people]
    told: list[tuple[Fact, list[str]]] = []
    for at, (person, year, month, day) in enumerate(loans):
        written = f"{year}年{month}月{day}日" if language == "chinese" else f"{day} {_MONTHS.split()[month - 1]} {year}"
        before, behind = _APART[language]
        forms = [[before, rng.choice(fillers), behind] if rng.random() < 0.3 else [_WHOLE[language]]]
        forms += [[_OTHERWISE[language]]] if at % 4 == 3 else []
        for version, form in enumerate(forms):
            fact = Fact(person, written, amounts[2 * at + version])
            told.append((fact, [one.format(person=person, date=written, amount=fact.amount) for one in form]))
    places = sorted(rng.sample(range(len(paragraphs) + 1), len(told)), reverse=True)
    for place, (_, sentences) in zip(places, rng.sample(told, len(told)), strict=True):
        paragraphs[place:place] = sentences
    text = "\n\n".join(paragraphs) + "\n"
    facts = []
    for fact, sentences in told:
        start = text.index(sentences[-1])
        facts.append(fact._replace(start=start, end=start + len(sentences[-1])))
    persons = [fact.person for fact in facts]
    doubled = [(at, at + 1) for at in range(len(facts) - 1) if persons[at] == persons[at + 1]]
    return Planted(text, facts, doubled)


@dataclass(frozen=True, slots=True)
class Score:
    """What a task has found. `found` and `amounts` are for each fact, `correct` for each loan of the result.

    A fact is found with its person, date and amount; `amounts` has those whose amount was found. `grounded` is for each
    loan with a quote that is found: whether its quote overlaps the sentence that says so.
    """

    found: list[bool]
    amounts: list[bool]
    correct: list[bool]
    repeats: int
    contradictions: list[bool]
    grounded: list[bool]
    verbatim: list[bool]  # for each quote that was returned: the input has it at its place
    not_found: int  # quotes that the model made up
    coverage: float

    def record(self) -> dict[str, object]:
        """The score as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def score(planted: Planted, task: dict[str, Any]) -> Score:
    """Score the task of a planted text that has ended. A task that failed has found nothing."""
    if task["status"] != "completed":
        nothing = [False] * len(planted.facts)
        return Score(nothing, nothing, [], 0, [False] * len(planted.contradictions), [], [], 0, 0.0)
    spans = {one["pointer"]: (one["start"], one["end"]) for one in task["result"]["quotes"]}
    known = {(fact.person, fact.date, fact.amount): at for at, fact in enumerate(planted.facts)}
    found, correct, grounded, verbatim, repeats = [False] * len(known), list[bool](), list[bool](), list[bool](), 0
    outputs = [(chunk, output["loans"]) for chunk, output in enumerate(task["result"]["value"]) if output is not None]
    loans = {f"/{chunk}/loans/{at}/quote": loan for chunk, listed in outputs for at, loan in enumerate(listed)}
    for pointer, loan in loans.items():
        at = known.get((loan["person"].strip(), loan["date"].strip(), loan["amount"]))
        correct.append(at is not None)
        start, end = spans.get(pointer, (0, 0))
        if loan["quote"] is not None:
            verbatim.append(planted.text[start:end] == loan["quote"])
        if at is None:
            continue
        repeats += found[at]
        found[at] = True
        if loan["quote"] is not None:
            grounded.append(start < planted.facts[at].end and planted.facts[at].start < end)
    both = [found[one] and found[other] for one, other in planted.contradictions]
    missed, said = task["usage"]["quotesNotFound"], {loan["amount"] for loan in loans.values()}
    amounts = [fact.amount in said for fact in planted.facts]
    return Score(found, amounts, correct, repeats, both, grounded, verbatim, missed, task.get("coverage", 1.0))


type Share = tuple[float, float, float]  # A share, and the ends of its interval of 95 %.


def share(cases: Sequence[bool], seed: int = 0) -> Share | None:
    """Return the share of true cases, with its interval by bootstrap; None without a case."""
    if not cases:
        return None
    rng, size = Random(seed), len(cases)  # noqa: S311
    drawn = sorted(sum(rng.choices(cases, k=size)) / size for _ in range(_DRAWS))
    return sum(cases) / size, drawn[_DRAWS * 25 // 1_000], drawn[_DRAWS * 975 // 1_000 - 1]


def shares(scores: Sequence[Score]) -> dict[str, Share | None]:
    """Return the figures of several texts together."""

    def over(of: Callable[[Score], Sequence[bool]]) -> Share | None:
        return share([case for one in scores for case in of(one)])

    return {
        "recall": over(lambda one: one.found),
        "amounts found": over(lambda one: one.amounts),
        "precision": over(lambda one: one.correct),
        "repeats": over(lambda one: [True] * one.repeats + [False] * (sum(one.correct) - one.repeats)),
        "contradictions": over(lambda one: one.contradictions),
        "quotes in the text": over(lambda one: [True] * len(one.verbatim) + [False] * one.not_found),
        "quotes of the fact": over(lambda one: one.grounded),
    }


def read(record: str) -> Score:
    """Read a score that was written as JSON."""
    return Score(**json.loads(record))

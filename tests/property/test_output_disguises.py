"""Reading a model's output gives the same value in all disguises, or a refusal, and never another value."""

import json
import random
from typing import Any

from src.features.structured.reading import THOUGHTS, read_output
from tests.support.schema_draws import SchemaDraws
from tests.support.tiers import sized

OUTPUTS = sized(quick=150, test=600, campaign=20_000)
PROSE = (
    "Here is the result:",
    "Sure!",
    "结果如下：",
    "I found 2 people.\n\n",
    'The "answer" follows',
    "(1) see below",
    "`json`",
)
AFTER = ("Hope this helps!", "。", 'Note: "x" isn\'t known.', "\n---\n", "```", "(end)", "</answer>")
MUSINGS = ("hm", 'maybe {"a": 1}?', '{"a": [1, 2', "} {", 'so: {"value": null}\n\n```json\n{"b": 2}\n```', "我想 {")
TRAPS = (
    "</think>",
    "<think>",
    "```json",
    '{"a": 1}',
    ",}",
    ",]",
    "\\",
    '\\"',
    "}",
    "\ufeff",
    "\u0000",
    "\u2028",
    "a\nb",
)


class Disguises:
    """Draws JSON objects and their disguises, such as prose or a fence around them, from one seed."""

    def __init__(self, seed: int) -> None:
        self.draws = SchemaDraws(seed)
        self.random: random.Random = self.draws.random

    def value(self) -> dict[str, Any]:
        """Draw an object whose texts look like disguises."""
        drawn = {
            f"{name}{index}": self.draws.loose(2)
            for index, name in enumerate(("a", '"', "{", "名")[: self.random.randrange(5)])
        }
        for _ in range(self.random.randrange(3)):
            drawn[self.random.choice(TRAPS)] = [self.random.choice(TRAPS), {self.random.choice(TRAPS): {}}]
        return drawn

    def written(self, value: Any, commas: float) -> str:
        blank = self.random.choice(("", "", " ", "\n  ", "\t"))
        if isinstance(value, dict | list) and value:
            ends = "{}" if isinstance(value, dict) else "[]"
            members = (
                [f"{json.dumps(name)}:{blank}{self.written(one, commas)}" for name, one in value.items()]
                if isinstance(value, dict)
                else [self.written(one, commas) for one in value]
            )
            tail = f"{blank}," if self.random.random() < commas else ""
            return ends[0] + blank + f",{blank}".join(members) + tail + blank + ends[1]
        return json.dumps(value, ensure_ascii=self.random.random() < 0.5)

    def disguised(self, text: str) -> str:
        """Put thoughts, prose, a fence or a byte order mark around a JSON text."""
        if self.random.random() < 0.4:
            text = f"```{self.random.choice(('json', '', 'JSON'))}\n{text}\n```"
        if self.random.random() < 0.4:
            text = f"{self.random.choice(PROSE)}{self.random.choice((' ', chr(10)))}{text}"
        if self.random.random() < 0.4:
            text = f"{text}{self.random.choice((' ', chr(10)))}{self.random.choice(AFTER)}"
        for _ in range(self.random.choice((0, 0, 1, 2))):
            opening, closing = self.random.choice(THOUGHTS)
            opening = self.random.choice((opening, opening.upper(), opening.title()))
            text = f"{opening}{self.random.choice(MUSINGS)}{closing}{self.random.choice(('', chr(10)))}{text}"
        return f"{self.random.choice(('', '', ' ', chr(10), chr(0xFEFF)))}{text}"


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_a_disguised_object_is_read_as_it_is() -> None:
    start = random.randrange(10**9)
    repaired = 0
    for seed in range(start, start + OUTPUTS):
        drawn = Disguises(seed)
        value = drawn.value()
        text = drawn.disguised(drawn.written(value, drawn.random.choice((0, 0.5))))
        reading = read_output(text)
        assert same(reading.value, value), f"seed {seed}: {text!r} {reading}"
        assert same(json.loads(reading.compact), value), f"seed {seed}"
        try:
            json.loads(text)
            is_json = True
        except ValueError:
            is_json = False
        assert reading.repaired is not is_json, f"seed {seed}: {text!r}"
        repaired += reading.repaired
    assert repaired > OUTPUTS / 3


def test_a_cut_gives_the_same_value_or_none() -> None:
    start = random.randrange(10**9)
    given = 0
    for seed in range(start, start + OUTPUTS // 10):
        drawn = Disguises(seed)
        value = drawn.value()
        text = drawn.disguised(drawn.written(value, drawn.random.choice((0, 0.5))))
        for end in range(len(text)):
            found = read_output(text[:end]).value
            assert found is None or same(found, value), f"seed {seed}: {text[:end]!r} {found}"
            given += found is not None
    assert given > OUTPUTS / 10

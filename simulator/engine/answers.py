"""Makes the simulated model's answers to calls that want JSON: values that fit a schema, which faults may spoil.

The simulated model knows for each of its answers which value may be accepted, so checks do not need the Worker's own
schema checker.
"""

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from simulator.engine.chat import BETWEEN
from simulator.engine.fault_plan import FaultPlan

SEEN = "seen"  # The name of the property whose value says to which call the answer belongs.
QUOTES_MOST = 2  # of one answer
_NOWHERE = (" ", "nowhere, truly")
_CUT_REASONS = ("length", "length", "content_filter")


class WrittenJson(NamedTuple):
    """An answer of the simulated model to a call that wants JSON.

    `text` is the whole answer. `worth` is the value in the answer that may be accepted, as compact JSON, or None if the
    answer must be rejected. It has the quotes that the source has. `said` is the value with the model's own quotes.
    `kind` is `ok`, `unfit` or `cut`. `lent` of the quotes that are `missed` stand beside the chunk, not in it.
    """

    text: str
    worth: str | None
    kind: str
    finish_reason: str = "stop"
    said: str = ""
    missed: int = 0  # quotes that are not in the chunk
    lent: int = 0

    @property
    def is_disguised(self) -> bool:
        """Whether the text of the answer has more than the value, so that the value must be taken out of it."""
        return self.worth is not None and self.said != self.text.strip()


def answer(
    schema: Mapping[str, Any], seen: str, faults: FaultPlan, sender: str, *, is_cut: bool, user: str = ""
) -> WrittenJson:
    """Write a value that fits the schema and contains `seen`, unless a fault spoils the value.

    With `is_cut` the answer is cut off, as at the limit of tokens. Quotes are words of the message `user`, or invented.
    """
    words, source = _words_of(user), user.rpartition(BETWEEN)[2]
    kept = value_of(schema, schema, Random(seen), Quoting(words, source, is_said=False))
    meant = compact({**kept, SEEN: seen})
    rng = Random(seen)
    value = {**value_of(schema, schema, rng, Quoting(words, source, is_said=True)), SEEN: seen}
    worth = compact(value)
    quotes = zip(value.get("quotes", ()), kept.get("quotes", ()), strict=True)
    lost = [said for said, found in quotes if said is not None and found is None]
    missed, lent = len(lost), sum(said not in _NOWHERE for said in lost)
    if is_cut or faults.fires("output_cut", sender):
        reason = "length" if is_cut else _CUT_REASONS[int(faults.between(0, len(_CUT_REASONS)))]
        return WrittenJson(worth[: len(worth) - int(faults.between(0, 12))], None, "cut", reason)
    if faults.fires("output_no_json", sender):
        return WrittenJson(_no_json(worth, seen, rng), None, "unfit")
    if faults.fires("output_unfit", sender):
        return WrittenJson(_unfit(value, rng), None, "unfit")
    if faults.fires("output_disguised", sender):
        return WrittenJson(_disguised(worth, rng), meant, "ok", said=worth, missed=missed, lent=lent)
    return WrittenJson(worth, meant, "ok", said=worth, missed=missed, lent=lent)


class Quoting(NamedTuple):
    """How quotes are written: from these words, as the model says them or as the `source` has them."""

    words: Sequence[str] = ()
    source: str = ""
    is_said: bool = True

    def quote(self, rng: Random) -> str | None:
        """Write a quote: none, an invented or blank one, or a word, which the model may write in disguise."""
        kind, word = rng.random(), rng.choice(self.words or ("",))
        if kind < 0.1:
            return None
        if kind < 0.3 or not word:
            return _NOWHERE[kind < 0.2] if self.is_said else None
        if self.is_said:
            return f"{word[0]}\u200b{word[1:]}" if kind < 0.6 else word
        return word if word in self.source else None


def _words_of(user: str) -> list[str]:
    """Return what may be quoted: words of a text, or of the outputs that a merge reads their quotes."""
    if user.startswith("{"):
        lists = re.findall(
            r'"quotes":\[((?:,|null|"[A-Za-z0-9]+")*)\]', user
        )  # those that the message does not cut off
        return [quote for found in lists for quote in re.findall(r'"([^"]+)"', found)]
    return re.findall(r"[A-Za-z0-9]{2,12}", user)


def compact(value: object) -> str:
    """Write a value as JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


NO_QUOTES = Quoting()


def value_of(schema: Mapping[str, Any], root: Mapping[str, Any], rng: Random, quoting: Quoting = NO_QUOTES) -> Any:
    """Make a value that fits a schema with only the keywords that the campaign's schemas use. A text or null quotes."""
    if "$ref" in schema:
        return value_of(root["$defs"][schema["$ref"].rpartition("/")[2]], root, rng, quoting)
    if "anyOf" in schema:
        return value_of(rng.choice(schema["anyOf"]), root, rng, quoting)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return {name: value_of(one, root, rng, quoting) for name, one in schema["properties"].items()}
    if kind == "array":
        return [value_of(schema["items"], root, rng, quoting) for _ in range(rng.choice((0, 1, 1, QUOTES_MOST)))]
    simple: dict[str, Any] = {
        "string": _string(schema, rng),
        "integer": schema.get("minimum", -3) + rng.randint(0, 6),
        "number": schema.get("minimum", 0) + rng.choice((0, 1, 0.25, 1e-7, 12.5)),
        "boolean": rng.random() < 0.5,
        "null": None,
    }
    return quoting.quote(rng) if isinstance(kind, list) else simple[kind]


def _string(schema: Mapping[str, Any], rng: Random) -> str:
    if schema.get("format") == "date":
        return f"20{rng.randint(10, 29)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}"
    return rng.choice(("Emma", "祥林嫂", 'a "quote", and {braces}', "", "x" * 20, "</think> ```"))


def _unfit(value: dict[str, Any], rng: Random) -> str:
    """Write JSON that fits no schema of the campaign, because objects there require and allow only their properties."""
    name = rng.choice(sorted(value))
    others = {one: value[one] for one in value if one != name}
    said = value[SEEN]
    spoilt: Sequence[str] = (
        compact(others | {"said": said}),
        compact(value | {"further": 1}),
        compact(others | {name: {"no": "such type"}, "said": said}),
        compact([value]),
        compact(said),
        compact(value)[:-1] + ',"seen":"twice"}',
        compact(value)[:-1] + f',"{name}":NaN}}',
    )
    return rng.choice(spoilt)


def _no_json(worth: str, seen: str, rng: Random) -> str:
    """Write a text that is not JSON and does not contain exactly one complete object."""
    return rng.choice(
        (
            f"I cannot do that. ({seen})",
            worth[: rng.randint(1, len(worth) - 1)],
            f"{worth}\n{worth}",
            f"<think>The answer is {worth}",
            f"<think></think>{worth[:-2]}",
            f'"answer": {worth}',
            f"{worth[1:]}",
        )
    )


def _disguised(worth: str, rng: Random) -> str:
    """Write a text from which the value can be taken. Inside the value only a trailing comma may be added."""
    return rng.choice(
        (
            f"```json\n{worth}\n```",
            f"Here is the result:\n\n{worth}\n\nI hope that this helps.",
            f"<think>Let me see: {{}}, or rather […]</think>\n{worth}",
            f"\ufeff{worth}",
            f"{worth[:-1]},}}",
            f"<thinking>\nhm\n</thinking>\nSure!\n```\n{worth[:-1]} , }}\n```\n",
            f" {worth}\n",
        )
    )

"""Draws the submissions of the chaos run from a seed; each model call shows the model server's ledger its task."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from src.kernel.domain.task import CONCAT_SEPARATOR
from src.kernel.text.chunks import chunks, cuts
from src.kernel.text.merge import merge_chars, merge_ends, merge_message
from tests.support.client import paragraphs
from tests.support.model_plan import output_for

MAX_CHARS = 60
REDUCTIONS = ("concat", "none", "merge")


def merge_groups(outputs: list[str], most_chars: int) -> list[str]:
    """Pack outputs, in order, into the user messages of the next merge level's calls."""
    ends = merge_ends(list(map(len, outputs)), most_chars)
    return [merge_message(outputs[first:end], most_chars) for first, end in pairwise((0, *ends))]


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission, in which a tag in each chunk and in the instructions shows the task of each model call."""

    tag: str
    parts: int
    reduce: str

    @property
    def text(self) -> str:
        return paragraphs(self.parts, self.tag)

    def body(self) -> dict[str, Any]:
        return {
            "input": self.text,
            "instructions": f"origin {self.tag}.",
            "reduce": self.reduce,
            "chunk": {"maxChars": MAX_CHARS},
            "metadata": {"tag": self.tag, "parts": self.parts, "reduce": self.reduce},
        }

    def outputs(self) -> list[str]:
        spans = chunks(cuts(self.text, MAX_CHARS), 0)
        return [output_for(self.text[span.start : span.end]) for span in spans]

    def result(self) -> str | list[str]:
        outputs = self.outputs()
        if self.reduce == "none":
            return outputs
        if self.reduce == "concat":
            return CONCAT_SEPARATOR.join(outputs)
        while len(outputs) > 1:
            outputs = [output_for(group) for group in merge_groups(outputs, merge_chars(MAX_CHARS))]
        return outputs[0]

    @classmethod
    def of_metadata(cls, metadata: dict[str, Any]) -> "Submission":
        return cls(metadata["tag"], int(metadata["parts"]), metadata["reduce"])


def submissions(seed: int, tasks: int) -> Iterator[tuple[int, str]]:
    """Draw each task's number of chunks (mostly a few, sometimes up to 60) and its kind of reduction."""
    random = Random(f"{seed}/work")
    for _ in range(tasks):
        size = random.choice((1, 2, 3, 5, 8, 13, random.randint(20, 60) if random.random() < 0.4 else 4))
        yield size, random.choice(REDUCTIONS)

"""The estimate of tokens follows its rule exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.text.chunks import Chunk, chunks, cuts
from src.kernel.text.tokens import estimated_tokens

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

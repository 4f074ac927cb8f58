"""Estimates how many tokens a model will count in a text.

Models count tokens differently, and the estimate is made without asking a model. In the estimate, each character of
Chinese, Japanese or Korean writing counts as one token, full-width punctuation included. Each four characters of other
writing count as one token, rounded up for each message. Current tokenizers need about 0.6 to 1.5 tokens for a Chinese,
Japanese or Korean character, and one token for 3 to 5 characters of English. Texts in other alphabets may need twice
the estimated tokens.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from .chunks import Chunk

CHARS_A_TOKEN = 4

# The characters that count as one token each are Hangul letters, radicals to CJK extension A, ideographs, Hangul
# syllables, compatibility and full-width forms, the supplementary ideographic planes.
_WIDE = re.compile(
    "[\u1100-\u11ff\u2e80-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    "\U00020000-\U0003ffff]++"
)


def estimated_tokens(text: str, chunks: Iterable[Chunk], instructions: str) -> int:
    """Estimate the calls' input tokens, instructions included; the overlap costs no time."""
    spans = [(chunk.start, chunk.end) for chunk in chunks]
    offsets = sorted({offset for span in spans for offset in span})
    wide_before = dict.fromkeys(offsets[:1], 0)
    for before, after in pairwise(offsets):
        wide_before[after] = wide_before[before] + _wide_chars(text[before:after])
    fixed = _tokens(len(instructions), _wide_chars(instructions))
    return sum(fixed + _tokens(end - start, wide_before[end] - wide_before[start]) for start, end in spans)


def _tokens(chars: int, wide: int) -> int:
    return wide - (wide - chars) // CHARS_A_TOKEN


def _wide_chars(text: str) -> int:
    return 0 if text.isascii() else sum(map(len, _WIDE.findall(text)))

"""Tests of the demo provider with any text."""

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from src.features.demo.demo import analysis

_PROSE = ["word ", "Lamp. ", "灯塔亮了。", "灯", "\n", "\r\n", "\u0301", "😀", "\x00", "…", "?", "Mr.", "0,"]
_MARKDOWN = ["# ", "*", "## a\n\n", "> b\n\n", "**Key terms:** a (1)\n\n", "**关键词：**灯（1）\n\n"]
_COUNTS = ["*Characters 1 · sentences 1*\n\n", "*字符 1 · 句子 1*\n\n", "*Characters 999,999,999 · sentences 1*\n"]
_PIECES = st.sampled_from([*_PROSE, *_MARKDOWN, *_COUNTS])
_TEXTS = st.text(min_size=1, max_size=300) | st.lists(_PIECES, min_size=1, max_size=200).map("".join)


@given(_TEXTS)
def test_any_text_gets_a_bounded_report(text: str) -> None:
    """The demo provider answers any text with a report of limited length, and the same text with the same report."""
    output = analysis(text)
    assert output.startswith("## ")
    assert 0 < len(output) <= 1000
    assert analysis(text) == output


@given(st.lists(_TEXTS, min_size=1, max_size=12))
def test_a_merge_of_more_than_a_thousand_characters_shrinks(texts: list[str]) -> None:
    joined = "\n\n".join(map(analysis, texts))
    assert len(analysis(joined)) < max(len(joined), 1000)


def test_the_order_of_sets_does_not_show() -> None:
    """The demo's report does not depend on the interpreter's string hashes."""
    script = "import sys; from src.features.demo.demo import analysis; print(ascii(analysis(sys.argv[1])))"
    text = " ".join(f"Word{n % 7} walks{n % 5} alone{n % 3} here{n % 11} with{n % 13}." for n in range(200))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script, text],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(outputs) == 1

"""The texts in examples/ are long enough, are cut without loss, and the demo's reports quote their own sentences."""

import unicodedata
from pathlib import Path

import pytest

from src.features.demo.demo import analysis
from src.kernel.text.chunks import chunks, cuts

_EXAMPLES = Path(__file__).parents[3] / "examples"
_DEFAULT_MAX_CHARS = 6000
_NAMES = ["english.txt", "chinese.txt"]


def read(name: str) -> str:
    return (_EXAMPLES / name).read_bytes().decode("utf-8")


def parts(text: str) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in chunks(cuts(text, _DEFAULT_MAX_CHARS), 0)]


@pytest.mark.parametrize("name", _NAMES)
def test_an_example_is_a_clean_text_of_some_length(name: str) -> None:
    text = read(name)
    assert len(text.encode("utf-8")) >= 20_000
    assert not {"\r", "\t", "\ufeff"} & set(text)
    assert unicodedata.is_normalized("NFC", text)
    assert text == text.strip() + "\n"


@pytest.mark.parametrize(
    ("name", "expected"), [("english.txt", (4543, 8852, 14614, 18383, 24339, 29623)), ("chinese.txt", (5905, 9403))]
)
def test_an_example_splits_as_the_readme_shows(name: str, expected: tuple[int, ...]) -> None:
    text = read(name)
    assert cuts(text, _DEFAULT_MAX_CHARS) == expected
    assert "".join(parts(text)) == text
    assert all(part.endswith("\n") for part in parts(text))


@pytest.mark.parametrize("name", _NAMES)
def test_the_demo_quotes_sentences_of_each_chunk(name: str) -> None:
    for part in parts(read(name)):
        flat = " ".join(part.split())
        quotes = [line[2:] for line in analysis(part).splitlines() if line.startswith("> ")]
        assert len(quotes) == 4
        places = [flat.index(quote.removesuffix("…")) for quote in quotes]
        assert places == sorted(places)

"""Makes texts and outputs for benchmarks: pieces of English and Chinese prose, drawn from a seed.

The English text comes from this project's documents. The Chinese text is made of words whose frequencies follow Zipf's
law, because no Chinese text in this project is long enough for 20 outputs without common parts. If six outputs of 1,000
characters are compressed together, each takes 1,430 bytes; an output that is compressed alone takes 1,660 bytes. Pieces
of a book of Chinese essays of 1.5 million characters, cut in the same way, take 1,410 and 1,600 bytes.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

CHUNK_CHARS = 6_000
OUTPUT_CHARS = 1_000
_DOCS = Path(__file__).resolve().parents[1] / "docs"
DOCUMENTS = sorted(path for path in _DOCS.rglob("*.md") if not path.name.endswith(".zh-CN.md"))

type Prose = Callable[[Random, int], str]


def english(rng: Random, length: int) -> str:
    """Return a random piece of the project's own documents."""
    text = _documents()
    first = rng.randrange(len(text) - length)
    return text[first : first + length]


def chinese(rng: Random, length: int) -> str:
    """Return random words of one to three characters, with a comma after each fifth word."""
    words, weights = _chinese_words()
    drawn = rng.choices(words, weights, k=length)
    return "".join(word + ("，" if at % 5 == 4 else "") for at, word in enumerate(drawn))[:length]


LANGUAGES: dict[str, Prose] = {"English": english, "Chinese": chinese}


def text_of(prose: Prose, rng: Random, chunks: int) -> str:
    """Return a text that the Worker cuts into this number of chunks of 6,000 characters; each chunk is a paragraph."""
    most = CHUNK_CHARS - 2
    parts = (prose(rng, most).replace("\n", " ").strip() for _ in range(chunks))
    return "".join(part.ljust(most, ".") + "\n\n" for part in parts)


@cache
def _documents() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


@cache
def _chinese_words() -> tuple[list[str], list[float]]:
    rng = Random("words")  # noqa: S311
    characters = [chr(0x4E00 + 5 * rank) for rank in range(3_000)]
    frequencies = [1 / (rank + 12) for rank in range(3_000)]
    words = ["".join(rng.choices(characters, frequencies, k=rng.choice((1, 2, 2, 2, 3)))) for _ in range(10_000)]
    return words, [1 / (rank + 3) for rank in range(10_000)]

"""Measures how long it takes to split a text of a million characters."""

import time
from pathlib import Path

from bench.figures import Figure
from src.kernel.text.chunks import cuts

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def measure() -> list[Figure]:
    """Split each kind of text three times at the default chunk size, and return the shortest times."""
    english = (EXAMPLES / "english.txt").read_text()
    chinese = (EXAMPLES / "chinese.txt").read_text()
    texts = {
        "English": english * (1_000_000 // len(english) + 1),
        "Chinese": chinese * (1_000_000 // len(chinese) + 1),
        "no boundaries": "x" * 1_000_000,
        "line feeds": "\n" * 1_000_000,
        "combining marks": "\u0301" * 1_000_000,
        "half headings": "Chapter " * 125_000,
        "underlines": "a\n===\n" * 166_667,
    }
    return [
        Figure(f"splitting 1,000,000 characters, {name}", min(_seconds(text[:1_000_000]) for _ in range(3)), "s", 1)
        for name, text in texts.items()
    ]


def _seconds(text: str) -> float:
    started = time.perf_counter()
    cuts(text, 6000)
    return time.perf_counter() - started

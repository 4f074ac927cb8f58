"""Measures how long the demo's analysis takes, so that the analysis does not hide the Worker's own cost."""

import time
from pathlib import Path

from bench.figures import Figure
from src.features.demo.demo import analysis

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CHUNK_CHARS, LONG_CHARS = 6_000, 500_000


def measure() -> list[Figure]:
    """Analyse a chunk of the default size and a long text, and return the shortest of three times."""
    figures = []
    for name in ("English", "Chinese"):
        text = (EXAMPLES / f"{name.lower()}.txt").read_text()
        text *= LONG_CHARS // len(text) + 1
        figures += [
            Figure(f"analysis of a chunk, {name}", 1_000 * _seconds(text[:CHUNK_CHARS]), "ms", 10),
            Figure(f"analysis of {LONG_CHARS:,} characters, {name}", _seconds(text[:LONG_CHARS]), "s", 2),
        ]
    return figures


def _seconds(text: str) -> float:
    return min(_once(text) for _ in range(3))


def _once(text: str) -> float:
    started = time.process_time()
    analysis(text)
    return time.process_time() - started

"""The counts of `bench.quality` follow from the task, its chunks and its log of calls."""

import json
from typing import Any

from bench import quality
from tests.support.dev_server import ROOT

SOURCE = "Anna met\nMr. Smith. Nobody was there. Emma wrote."


def chunk(index: int, start: int, end: int, value: object = None) -> dict[str, Any]:
    status = "gap" if value is None else "completed"
    return {"index": index, "start": start, "end": end, "status": status, "output": json.dumps(value)}


def call(index: int, number: int, code: str | None = None, level: int = 0) -> dict[str, Any]:
    return {
        "level": level,
        "index": index,
        "number": number,
        "outcome": "failed" if code else "succeeded",
        "code": code,
    }


def test_first_answers_mended_ones_and_gaps_are_counted_apart():
    task = {
        "status": "completed",
        "progress": {"total": 3},
        "coverage": 0.6,
        "usage": {"repaired": 1, "reasks": 1, "modelCalls": 4},
    }
    chunks = [
        chunk(0, 0, 19, {"people": ["Anna", "Mr. Smith", "Bob"], "places": ["Anna", ""]}),
        chunk(1, 19, 38),
        chunk(2, 38, 49, {"people": ["Emma"], "places": []}),
    ]
    calls = [call(0, 1), call(1, 1, "output_truncated"), call(2, 1, "invalid_output"), call(2, 2), call(0, 1, level=1)]
    counted = quality.counted("english", "both", SOURCE, task, chunks, calls, 12.4)
    assert counted.first == {"valid": 1, "output_truncated": 1, "invalid_output": 1}
    assert (counted.mended, counted.gaps, counted.names, counted.present) == (1, 1, 4, 3)
    assert dict(zip(quality.HEAD, counted.cells(), strict=True)) == {
        "text": "english",
        "`STRUCTURED_OUTPUT`": "`both`",
        "chunks": "3",
        "first answer valid": "1 (33 %)",
        "cut off": "1",
        "does not fit": "1",
        "repaired": "1",
        "asked again": "1",
        "then valid": "1",
        "gaps": "1",
        "coverage": "0.60",
        "names": "4",
        "in the chunk's text": "75 %",
        "calls": "4",
        "seconds": "12",
    }


def test_the_page_has_the_table_of_the_bench():
    """docs/local-models.md has the columns that the command prints, and a row for each text."""
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(quality.HEAD)} |" in page
    for text in quality.TEXTS:
        assert f"| {text} | `{quality.SENDING}` |" in page

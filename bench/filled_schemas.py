"""How well a small real model fills a schema, and what repairs and further calls make of it.

The model of `make model` lists the people and the places in the texts of `examples/`. Each text is one task on the
local runtime. The counts are those of the API: the task, its chunks and its log of calls. docs/local-models.md has a
run of `python -m bench.filled_schemas`. `make model ARGS=--install-only` installs the model.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import model
from local.model_server import NAME, OUTPUT_TOKENS, TIMEOUT_SECONDS
from src.kernel.domain.settings import SENDINGS
from tests.support.client import Client, openai
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.real_model import RealModel

TEXTS = ("english", "chinese")
SENDING = "both"
CHUNK_CHARS = 800
INSTRUCTIONS = (
    'List the names of the people and of the places in the text. For the text "Anna left Paris with Mr. Smith." the '
    'answer is {"people":["Anna","Mr. Smith"],"places":["Paris"]}'
)
TASK_SECONDS = 3_600
HEAD = (
    *("text", "`STRUCTURED_OUTPUT`", "chunks", "first answer valid", "cut off", "does not fit"),
    *("repaired", "asked again", "then valid", "gaps", "coverage", "names", "in the chunk's text", "calls", "seconds"),
)


@dataclass(frozen=True, slots=True)
class Quality:
    """The counts of one task."""

    text: str
    sending: str
    chunks: int
    first: Counter[str]  # the outcome of each chunk's first call: "valid", or its code
    usage: dict[str, int]
    mended: int  # the chunks whose later answer was valid
    gaps: int
    coverage: float
    names: int
    present: int  # the names that are in the text of their chunk
    seconds: float

    def cells(self) -> list[str]:
        """The row of the table."""
        share = 100 * self.first["valid"] / self.chunks
        grounded = f"{100 * self.present / self.names:.0f} %" if self.names else "-"
        return [
            *(self.text, f"`{self.sending}`", str(self.chunks)),
            f"{self.first['valid']} ({share:.0f} %)",
            *(str(self.first["output_truncated"]), str(self.first["invalid_output"])),
            *(str(self.usage["repaired"]), str(self.usage["reasks"]), str(self.mended)),
            *(str(self.gaps), f"{self.coverage:.2f}", str(self.names), grounded),
            *(str(self.usage["modelCalls"]), f"{self.seconds:.0f}"),
        ]


def counted(
    text: str, sending: str, source: str, task: dict[str, Any], chunks: list[Any], calls: list[Any], seconds: float
) -> Quality:
    """Count a task that has ended. `calls` is its whole log, `source` its input."""
    first = Counter(
        "valid" if call["outcome"] == "succeeded" else call["code"]
        for call in calls
        if call["level"] == 0 and call["number"] == 1
    )
    good = [chunk for chunk in chunks if chunk["status"] == "completed"]
    names = present = 0
    for chunk in good:
        passage = " ".join(source[chunk["start"] : chunk["end"]].split())
        value = json.loads(chunk["output"])
        found = {" ".join(name.split()) for name in (*value["people"], *value["places"])} - {""}
        names += len(found)
        present += sum(name in passage for name in found)
    total = task["progress"]["total"]
    return Quality(
        text,
        sending,
        total,
        first,
        task["usage"],
        len(good) - first["valid"],
        total - len(good),
        task["coverage"] if task["status"] == "completed" else 0.0,
        names,
        present,
        seconds,
    )


def measure(client: Client, text: str, sending: str, chars: int | None) -> Quality:
    """Let the model list the names in a text, or in its first `chars` characters."""
    source = (ROOT / "examples" / f"{text}.txt").read_text("utf-8")[:chars]
    submitted = client.submit(
        source,
        outputSchema=json.loads((ROOT / "examples" / "names.schema.json").read_text("utf-8")),
        join={"/people": "union", "/places": "union"},
        instructions=INSTRUCTIONS,
        chunk={"maxChars": CHUNK_CHARS},
        onChunkFailure="gap",
        maxGapShare=1,
        temperature=0,
    )
    task = client.finished(submitted["id"], TASK_SECONDS)
    calls = _log(client, task["id"])
    seconds = sum(call["milliseconds"] or 0 for call in calls) / 1_000
    print(f"{text}, {sending}: {task['status']}", json.dumps(task["result"], ensure_ascii=False), file=sys.stderr)
    return counted(text, sending, source, task, client.chunks(task["id"]), calls, seconds)


def _log(client: Client, task_id: str) -> list[Any]:
    calls: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str | int] = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        answer = client.http.get(f"/api/tasks/{task_id}/attempts", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        calls += page["attempts"]
        cursor = page["nextCursor"]
    return calls


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a row of Markdown for each task. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.filled_schemas", description=__doc__)
    parser.add_argument("--texts", nargs="+", default=TEXTS, choices=TEXTS)
    parser.add_argument(
        "--sendings", nargs="+", default=[SENDING], choices=SENDINGS, help="values of STRUCTURED_OUTPUT"
    )
    parser.add_argument("--chars", type=int, help="measure only the first characters of a text")
    parser.add_argument("--tokens", type=int, default=OUTPUT_TOKENS, help="the most tokens of an output")
    options = parser.parse_args(arguments)
    if (why_not := model.missing()) is not None:
        parser.error(why_not)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that model and runtime are stopped then, too
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    # One call at a time: calls that share a batch may change each other's last digits, and with them the output.
    real = RealModel(model.CONTEXT_TOKENS, slots=1)
    try:
        real.start()
        eventually(real.is_loaded, 120)
        for sending in options.sendings:
            flags = openai(
                real.base_url,
                AI_MODEL=NAME,
                AI_CONCURRENCY=1,
                AI_MAX_OUTPUT_TOKENS=options.tokens,
                AI_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
                LEASE_SECONDS=TIMEOUT_SECONDS + 60,
                STRUCTURED_OUTPUT=sending,
            )
            with (
                tempfile.TemporaryDirectory() as name,
                DevServer(Path(name), *flags) as server,
                Client(server.url) as client,
            ):
                for text in options.texts:
                    print(f"| {' | '.join(measure(client, text, sending, options.chars).cells())} |", flush=True)
    finally:
        real.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measures what runs longest without an await, on the local runtime: `python -m bench.turns [--runs N] [WORK...]`.

Nothing else of an isolate runs before the next await, and a limit of CPU time that strikes between two awaits strikes
at the same place in the next run, too. Each work is as large as the limits allow. The meter's `longest_ms` is the
longest handle of the event loop, by a clock that moves, on Cloudflare's own glue and with the state in memory. That is
wall time, and several times the processor time on a busy machine. So the table scales it by the processor time of the
server's process during the work, and has the least of N runs. Small requests
of each kind come first, which load modules.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.memory_folder import memory_folder
from bench.prose import english, text_of
from src.kernel.domain import limits
from tests.support import metered
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.processor_time import cpu_seconds

SHOWN_MS = 5  # the table has what takes half of a free account's 10 ms, or longer
TEXT_BYTES = limits.INPUT_BYTES_MOST - 50_000  # instructions and cuts share the input's row
OUTPUT = limits.OUTPUT_CHARS_MOST - 1_000
SHORT = {"maxChars": 40}


def schema_of(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object with one array."""
    array = {"type": "array", "items": items}
    return {"type": "object", "properties": {"l": array}, "required": ["l"], "additionalProperties": False, **more}


NUMBERS = schema_of({"type": "integer"})
GAPS: dict[str, Any] = {"onChunkFailure": "gap", "maxGapShare": 1, "outputSchema": NUMBERS, "reduce": "none"}


def numbers(first: int) -> str:
    """Return an output of nearly OUTPUT_CHARS_MOST characters with different numbers, from `first` on."""
    count = OUTPUT // (len(str(first)) + 1)
    return json.dumps({"l": list(range(first, first + count))}, separators=(",", ":"))


def tiny(_first: int) -> str:
    """Return such an output with as many items as possible."""
    return '{"l":[' + ",".join(["1"] * (OUTPUT // 2)) + "]}"


OUTPUTS: dict[str, Callable[[int], str]] = {
    "numbers": numbers,
    "tiny": tiny,
    "prose": lambda number: (f"{number} " + "words of an output, " * 12_000)[:OUTPUT],
    "short": lambda number: f"An output of a chunk, {number}.",
    "half": lambda number: tiny(1)[:7_999] + "]}" if number % 2 else f'{{"l": "{"x" * 20_000}"}}',
}


def decide(call: Call) -> Behaviour:
    """Answer with the output that the text's first word names, different for each chunk."""
    kind, _, rest = call.user.partition(" ")
    number = int(rest[:4]) if rest[:4].isdigit() else 0
    return (
        ok(OUTPUTS[kind](1_000_000 + number * 30_000 if kind == "numbers" else number)) if kind in OUTPUTS else ok("x")
    )


class Bench:
    """A server with the meter, and what it measured by work and handler."""

    def __init__(self, server: DevServer, client: Client) -> None:
        self.server = server
        self.client = client
        self.longest: dict[tuple[str, str], list[tuple[int, int, int]]] = {}

    @contextmanager
    def measured(self, work: str) -> Iterator[None]:
        """Count the longest handle of each kind of invocation that ends within the block as this work's."""
        start, pid = len(self.server.lines), self.server.process.pid
        began = cpu_seconds(pid)
        yield
        eventually(lambda: metered.lines(self.server, start))
        lines = metered.lines(self.server, start)
        used_ms = (cpu_seconds(pid) - began) * 1_000
        scale = min(1.0, used_ms / max(1, sum(line["cpu_ms"] for line in lines)))
        most: dict[str, tuple[int, int, int]] = {}
        for line in lines:
            name = str(line.get("request", line["handler"])).partition("/0")[0]
            found = round(line["longest_ms"] * scale), round(line["cpu_ms"] * scale), int(line["heap_mb"])
            most[name] = max(most.get(name, found), found)
        print(f"{work}: {most}", file=sys.stderr, flush=True)
        for name, found in most.items():
            self.longest.setdefault((work, name), []).append(found)

    def task(self, kind: str, chunks: int, **fields: Any) -> str:
        """Run a task with such outputs to its end, and return its path."""
        task = self.client.submit(paragraphs(chunks, kind), chunk=SHORT, **fields)
        path = f"/api/tasks/{task['id']}"

        def has_ended() -> bool:
            listed = self.client.http.get("/api/tasks?limit=5").json()["tasks"]
            return any(one["id"] == task["id"] and one["terminal"] for one in listed)

        eventually(has_ended, seconds=900, pause=0.5)
        return path

    def read(self, work: str, path: str) -> None:
        """Read something of the API, however long it takes."""
        with self.measured(work):
            answer = self.client.http.get(path, timeout=600)
            assert answer.is_success, answer.text[:500]


def submissions(bench: Bench) -> None:
    """Measure submissions of the longest texts; a dry run does all but the write and the run."""
    texts = {
        "prose": text_of(english, Random(1), 320)[:TEXT_BYTES],  # noqa: S311 - a text
        "one word": "x" * TEXT_BYTES,
        "Chinese": "数" * (TEXT_BYTES // 3),
        "blanks and a letter": " " * (TEXT_BYTES - 1) + "x",
        "lines": "ab\n" * (TEXT_BYTES // 3),
    }
    for name, text in texts.items():
        body = json.dumps({"input": text, "chunk": {"maxChars": 1_000}}, ensure_ascii=False).encode()
        with bench.measured(f"submission, {len(text.encode()):,} bytes, {name}"):
            answer = bench.client.http.post(
                "/api/tasks?dryRun=true", content=body, headers={"content-type": "application/json"}
            )
            assert answer.is_success, answer.text[:500]
    escaped = b'{"input": "%s", "chunk": {"maxChars": 1000}}' % (b"\\u0001" * TEXT_BYTES)
    with bench.measured("submission, every character escaped"):
        answer = bench.client.http.post(
            "/api/tasks?dryRun=true", content=escaped, headers={"content-type": "application/json"}
        )
        assert answer.is_success, answer.text[:500]


def schemas(bench: Bench) -> None:
    """Measure submissions with the largest schemas."""
    fields = {f"p{number}": {"type": "array", "items": {"type": "integer"}} for number in range(600)}
    nodes = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{(n + 1) % 300}"}, {"type": "null"}]} for n in range(300)}
    shapes = {
        "600 arrays": {"type": "object", "properties": fields},
        "300 definitions of each other": {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/d0"}},
            "$defs": nodes,
        },
        "1,000 enum values": {"type": "object", "properties": {"a": {"enum": [f"v{n}" for n in range(1_000)]}}},
    }
    for name, schema in shapes.items():
        with bench.measured(f"schema, {len(json.dumps(schema)):,} bytes, {name}"):
            fields_of = {"input": "x", "outputSchema": schema, "strict": False, "reduce": "none"}
            answer = bench.client.http.post("/api/tasks?dryRun=true", json=fields_of)
            assert answer.status_code in {200, 422}, answer.text[:500]


def runs(bench: Bench) -> None:
    """Measure runs with the most chunks, and with the longest outputs."""
    with bench.measured("run, 5,000 chunks"):
        path = bench.task("short", 5_000)
    bench.read("read, 5,000 short outputs", path)
    bench.read("chunks, 5,000 short outputs", f"{path}/chunks")
    bench.read("events, 5,000 short outputs", f"{path}/events")
    bench.read("attempts, 5,000 short outputs", f"{path}/attempts")
    with bench.measured("run, 12 outputs of 199,000 characters"):
        path = bench.task("prose", 12)
    bench.read("read, 10 outputs of 199,000 characters", bench.task("prose", 10))
    bench.read("read, 12 outputs of 199,000 characters", path)
    bench.read("chunks, 12 outputs of 199,000 characters", f"{path}/chunks")
    with bench.measured("run, a merge of 5,000 outputs"):
        bench.task("short", 5_000, reduce="merge")


def joins(bench: Bench) -> None:
    """Measure results that are joined from many outputs."""
    for kind in ("numbers", "tiny"):
        for chunks in (10, 60):
            for rule in (None, "union"):
                rules = {"/l": rule} if rule else None
                name = f"join ({rule or 'arrays'}), {chunks} outputs of {kind}"
                with bench.measured(f"run of it: {name}"):
                    path = bench.task(kind, chunks, outputSchema=NUMBERS, join=rules)
                bench.read(f"read of it: {name}", path)


def gaps(bench: Bench) -> None:
    """Measure tasks whose chunks fail for good, with rejected answers."""
    with bench.measured("run, 1,000 outputs of 8,000 characters, 1,000 rejected"):
        path = bench.task("half", 2_000, **GAPS)
    bench.read("read, 1,000 gaps", path)
    bench.read("chunks, 1,000 gaps", f"{path}/chunks")
    bench.read("attempts, 1,000 gaps", f"{path}/attempts")
    with bench.measured("retry of 1,000 gaps"):
        answer = bench.client.http.post(f"{path}/retry")
        assert answer.is_success, answer.text[:500]
        bench.client.http.post(f"/api/tasks/{answer.json()['id']}/cancel")


def files(bench: Bench) -> None:
    """Measure a text in a file and a batch, each as large as allowed."""
    text = text_of(english, Random(2), 4_400)[:24_900_000]  # noqa: S311 - a text
    http = bench.client.http
    with bench.measured("upload of 25 MB"):
        file = http.post("/v1/files", files={"file": ("a.txt", text.encode())}, data={"purpose": "user_data"})
        assert file.is_success, file.text
    with bench.measured("cut of a text in a file"):
        answer = http.post("/api/tasks", json={"inputFile": file.json()["id"], "maxModelCalls": 1})
        assert answer.is_success, answer.text
        bench.client.finished(answer.json()["id"], 300)
    lines = b"".join(
        b'{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"x"}]}}\n'
        % number
        for number in range(limits.BATCH_LINES_MOST)
    )
    with bench.measured("upload of 20,000 lines"):
        file = http.post("/v1/files", files={"file": ("a.jsonl", lines)}, data={"purpose": "batch"})
        assert file.is_success, file.text
    fields = {"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with bench.measured("batch of 20,000 lines: validation, 1,000 calls and more, cancellation, files"):
        batch = http.post("/v1/batches", json=fields).json()

        def state() -> Any:
            return http.get(f"/v1/batches/{batch['id']}").json()

        eventually(lambda: state()["request_counts"]["completed"] > 1_000, seconds=600, pause=1)
        http.post(f"/v1/batches/{batch['id']}/cancel")
        eventually(lambda: state()["status"] == "cancelled", seconds=600, pause=1)
    ended = state()
    bench.read("content of 1,000 output lines", f"/v1/files/{ended['output_file_id']}/content")
    bench.read("view of a batch of 20,000 lines", f"/v1/batches/{batch['id']}")
    bench.read("task of a batch of 20,000 lines", f"/api/tasks/{ended['onceover']['task']}")


def warm(bench: Bench) -> None:
    """Let the isolate load what the works need, and V8 compile it."""
    for _ in range(3):
        for fields in ({"reduce": "merge"}, {"outputSchema": NUMBERS, "join": {"/l": "union"}}, GAPS):
            path = bench.task("half" if fields is GAPS else "tiny", 4, **fields)
            for suffix in ("", "/chunks", "/attempts", "/events"):
                bench.client.http.get(path + suffix, timeout=600)
        bench.client.http.post("/api/tasks?dryRun=true", json={"input": "words of a text " * 30_000})


WORKS = {one.__name__: one for one in (submissions, schemas, runs, joins, gaps, files)}


def main(arguments: list[str]) -> int:
    """Measure the works, and print a table. The longest come first."""
    parser = argparse.ArgumentParser(prog="python -m bench.turns")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all unless given")
    options = parser.parse_args(arguments)
    os.environ["ONCEOVER_LOCAL_CLOCK"] = "moving"  # a clock that stands still within a turn cannot measure CPU time
    with memory_folder() as state, ModelServer(api_key="test-key", plan=Plan(decide=decide)) as model:
        flags = openai(model.base_url, PLAN="paid", AI_REASKS=0, MAX_INPUT_BYTES=limits.INPUT_BYTES_MOST)
        with DevServer(Path(state), *flags, "--limits", "paid") as server, Client(server.url) as client:
            bench = Bench(server, client)
            warm(bench)
            for _ in range(options.runs):
                for name in options.works or WORKS:
                    WORKS[name](bench)
    table = Table("work", "invocation", "longest, ms", "CPU, ms", "memory, MB")
    least = {key: [min(column) for column in zip(*found, strict=True)] for key, found in bench.longest.items()}
    for (work, name), figures in sorted(least.items(), key=lambda item: -item[1][0]):
        if figures[0] >= SHOWN_MS:
            table.add_row(work, name, *map(str, figures))
    Console(width=180).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Tests large outputs on the real runtime: they are read and merged within a limit of WebAssembly's memory."""

import json
import pathlib
import random
import zlib
from collections.abc import Iterator

import pytest

from tests.support import metered
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

CHARS = 190_000
CHUNKS = 215  # The outputs of all chunks together have 40.8 MB.
HEAP_MB_MOST = 100  # The limit is less than a Worker's 128 MB, because these also hold more than CPython's memory.


@pytest.fixture(scope="module", name="large")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A local server with the Worker and a meter; the outputs of its model are as long as allowed."""
    rng = random.Random(1)
    words = [rng.randbytes(4).hex() for _ in range(5_000)]
    texts = [" ".join(rng.choices(words, k=CHARS // 9)) for _ in range(16)]
    model = ModelServer(api_key="test-key", plan=Plan(decide=lambda call: ok(texts[sum(call.user[:99].encode()) % 16])))
    with (
        model,
        DevServer(tmp_path_factory.mktemp("large"), *openai(model.base_url, PLAN="paid"), "--limits", "paid") as server,
    ):
        yield server


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PEOPLE_SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": PERSON}},
    "required": ["people"],
    "additionalProperties": False,
}
EACH = {120: 4_500, 5_000: 110}  # The people in each output, by the number of chunks; all outputs have 20 MB.


def people(call: Call) -> Behaviour:
    """An output that fits the schema: a list of small objects, with different objects for each chunk.

    An output has 180,000 characters, or 4,000 if the text says that its chunks are small.
    """
    tag = zlib.crc32(call.user.encode())
    each = EACH[5_000 if call.user.startswith("small") else 120]
    return ok(json.dumps({"people": [{"name": f"{tag} {n}", "age": n} for n in range(each)]}))


@pytest.fixture(name="structured")
def structured_served(tmp_path: pathlib.Path) -> Iterator[DevServer]:
    """Serve the Worker, metered, with a model whose outputs are long lists of small objects."""
    model = ModelServer(api_key="test-key", plan=Plan(decide=people))
    with (
        model,
        DevServer(tmp_path, *openai(model.base_url, PLAN="paid"), "--limits", "paid") as server,
    ):
        yield server


@pytest.fixture
def client(large: DevServer) -> Iterator[Client]:
    """A client of the Worker with the large outputs."""
    with Client(large.url) as client:
        yield client


def completed(client: Client, chunks: int, *, tag: str = "part", seconds: float = 120, **request: object) -> str:
    """Submit a text of this many chunks, wait until the task has completed, and return its path."""
    task = client.submit(paragraphs(chunks, tag), chunk={"maxChars": 40}, **request)

    def done() -> bool:
        return task["id"] in [one["id"] for one in client.http.get("/api/tasks?status=completed").json()["tasks"]]

    eventually(done, seconds=seconds, pause=0.5)
    return f"/api/tasks/{task['id']}"


def heap_mb(server: DevServer) -> int:
    """Return the peak size of WebAssembly's memory in MB, according to the meter."""
    return max(int(line["heap_mb"]) for line in metered.lines(server))


def test_40_mb_are_read_whole_and_by_pages(large: DevServer, client: Client):
    """Clients read more than 40 MB of outputs in three ways, and the Worker uses at most 100 MB of memory.

    Clients read the outputs as the task's list of outputs, as all chunks in one answer, and as pages of chunks; all
    give the same texts.
    """
    path = completed(client, CHUNKS, reduce="none")
    whole = client.http.get(path, timeout=120)
    task = whole.json()
    assert (whole.status_code, task["status"]) == (200, "completed")
    assert sum(len(text) for text in task["result"]["output"]) > 40_000_000
    listed = client.http.get(f"{path}/chunks", timeout=120)
    assert len(listed.content) > len(whole.content) > 40_000_000
    assert listed.json()["nextCursor"] is None
    assert [chunk["output"] for chunk in listed.json()["chunks"]] == task["result"]["output"]
    cursor: str | None = ""
    pages: list[str] = []
    while cursor is not None:
        page = client.http.get(f"{path}/chunks?limit=100{cursor}", timeout=60).json()
        assert sum(len(chunk["output"]) for chunk in page["chunks"]) <= 2_000_000
        pages += [chunk["output"] for chunk in page["chunks"]]
        cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert pages == task["result"]["output"]
    print(f"heap {heap_mb(large)} MB")
    assert heap_mb(large) <= HEAP_MB_MOST


def test_20_mb_are_merged(large: DevServer, client: Client):
    """Further calls merge outputs of 20 MB into one result, and the Worker uses at most 100 MB of memory."""
    path = completed(client, 106, reduce="merge")
    task: Json = client.http.get(path, timeout=60).json()
    assert task["usage"]["modelCalls"] == task["usage"]["minimumCalls"] > 106
    assert len(task["result"]["output"]) > CHARS - 1_000
    print(f"heap {heap_mb(large)} MB")
    assert heap_mb(large) <= HEAP_MB_MOST


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize(
    ("chunks", "rules"),
    [
        pytest.param(120, {}, id="all"),
        pytest.param(120, {"/people": "union"}, id="union", marks=pytest.mark.campaign),
        pytest.param(5_000, {}, id="many", marks=pytest.mark.campaign),
    ],
)
def test_20_mb_of_structured_outputs_are_joined(structured: DevServer, chunks: int, rules: dict[str, str]):
    """Outputs of 20 MB that are objects are checked, joined and read as a value, within 100 MB of memory.

    The memory does not depend on how many chunks the outputs come from.
    """
    tag = "small" if chunks == 5_000 else "part"
    with Client(structured.url) as client:
        path = completed(client, chunks, tag=tag, seconds=1_200, outputSchema=PEOPLE_SCHEMA, join=rules or None)
        reply = client.http.get(path, timeout=120)
    assert len(reply.content) > 40_000_000  # the result is read as text and as a value
    result = reply.json()["result"]
    assert json.loads(result["output"]) == result["value"]
    assert len(result["value"]["people"]) > EACH[chunks] * (chunks - 1)
    print(f"heap {heap_mb(structured)} MB")
    assert heap_mb(structured) <= HEAP_MB_MOST

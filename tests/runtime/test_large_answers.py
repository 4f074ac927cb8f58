"""Tests large outputs on the real runtime: they are read and merged within a limit of WebAssembly's memory."""

import json
import random
import zlib
from collections.abc import Iterator

import pytest

from tests.support import metered
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.tiers import sized

pytestmark = pytest.mark.runtime

CHARS = 190_000
# The outputs of all chunks together have 20.5 MB or 40.8 MB.
CHUNKS, READ_BYTES = sized(quick=(108, 20_000_000), test=(108, 20_000_000), campaign=(215, 40_000_000))
MERGED_CHUNKS = sized(quick=54, test=54, campaign=106)
JOINED_CHUNKS = sized(quick=60, test=60, campaign=120)
MANY_CHUNKS = 5_000
# The limit is less than a Worker's 128 MB, because these also hold more than CPython's memory.
HEAP_MB_MOST = sized(quick=80, test=80, campaign=100)


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
# The people in each output, by the number of chunks; all outputs have 10 MB or 20 MB.
EACH = {JOINED_CHUNKS: 4_500, MANY_CHUNKS: 110}
LISTED = ("people", "small")  # The texts of chunks whose outputs are lists begin like this.


def people(call: Call) -> Behaviour:
    """An output that fits the schema: 180,000 characters, or 4,000 if the text says small chunks."""
    tag = zlib.crc32(call.user.encode())
    each = EACH[MANY_CHUNKS if call.user.startswith("small") else JOINED_CHUNKS]
    return ok(json.dumps({"people": [{"name": f"{tag} {n}", "age": n} for n in range(each)]}))


@pytest.fixture(scope="module", name="large")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    rng = random.Random(1)
    words = [rng.randbytes(4).hex() for _ in range(5_000)]
    texts = [" ".join(rng.choices(words, k=CHARS // 9)) for _ in range(16)]

    def decide(call: Call) -> Behaviour:
        return people(call) if call.user.startswith(LISTED) else ok(texts[sum(call.user[:99].encode()) % 16])

    with (
        ModelServer(api_key="test-key", plan=Plan(decide=decide)) as model,
        DevServer(tmp_path_factory.mktemp("large"), *openai(model.base_url, PLAN="paid"), "--limits", "paid") as server,
    ):
        yield server


@pytest.fixture
def client(large: DevServer) -> Iterator[Client]:
    with Client(large.url) as client:
        yield client


def completed(client: Client, chunks: int, *, tag: str = "part", seconds: float = 120, **request: object) -> str:
    task = client.submit(paragraphs(chunks, tag), chunk={"maxChars": 40}, **request)

    def done() -> bool:
        return task["id"] in [one["id"] for one in client.http.get("/api/tasks?status=completed").json()["tasks"]]

    eventually(done, seconds=seconds, pause=0.5)
    return f"/api/tasks/{task['id']}"


def heap_mb(server: DevServer) -> int:
    return max(int(line["heap_mb"]) for line in metered.lines(server))


def test_large_outputs_are_read_whole_and_by_pages(large: DevServer, client: Client):
    path = completed(client, CHUNKS, reduce="none")
    whole = client.http.get(path, timeout=120)
    task = whole.json()
    assert (whole.status_code, task["status"]) == (200, "completed")
    assert sum(len(text) for text in task["result"]["output"]) > READ_BYTES
    listed = client.http.get(f"{path}/chunks", timeout=120)
    assert len(listed.content) > len(whole.content) > READ_BYTES
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


def test_large_outputs_are_merged(large: DevServer, client: Client):
    path = completed(client, MERGED_CHUNKS, reduce="merge")
    task: Json = client.http.get(path, timeout=60).json()
    assert task["usage"]["modelCalls"] == task["usage"]["minimumCalls"] > MERGED_CHUNKS
    assert len(task["result"]["output"]) > CHARS - 1_000
    print(f"heap {heap_mb(large)} MB")
    assert heap_mb(large) <= HEAP_MB_MOST


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize(
    ("chunks", "rules"),
    [
        pytest.param(JOINED_CHUNKS, {}, id="all"),
        pytest.param(JOINED_CHUNKS, {"/people": "union"}, id="union", marks=pytest.mark.campaign),
        pytest.param(MANY_CHUNKS, {}, id="many", marks=pytest.mark.campaign),
    ],
)
def test_large_structured_outputs_are_joined(large: DevServer, client: Client, chunks: int, rules: dict[str, str]):
    tag = "small" if chunks == MANY_CHUNKS else "people"
    path = completed(client, chunks, tag=tag, seconds=1_200, outputSchema=PEOPLE_SCHEMA, join=rules or None)
    reply = client.http.get(path, timeout=120)
    assert len(reply.content) > READ_BYTES  # the result is read as text and as a value
    result = reply.json()["result"]
    assert json.loads(result["output"]) == result["value"]
    assert len(result["value"]["people"]) > EACH[chunks] * (chunks - 1)
    print(f"heap {heap_mb(large)} MB")
    assert heap_mb(large) <= HEAP_MB_MOST

"""Whatever a client sends, no answer is a 5xx, and only an accepted request is stored, unchanged."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.kernel.domain.settings import Settings
from tests.support.api_bench import ApiBench, BenchRequest, data, key
from tests.support.tiers import sized

MANY = settings(
    max_examples=sized(quick=75, test=300, campaign=1_000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

# The characters include surrogates, because JSON can contain them.
characters = st.characters(exclude_categories=())
texts = st.text(characters, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
# The bodies of requests here are close to valid ones, so that they reach every check of a submission.
requests = st.fixed_dictionaries(
    {},
    optional={
        "input": texts | values,
        "instructions": texts | values,
        "reduce": st.sampled_from(["concat", "merge", "none"]) | values,
        "chunk": st.fixed_dictionaries(
            {}, optional={"maxChars": st.integers(-2, 20) | values, "overlapChars": st.integers(-2, 20) | values}
        )
        | values,
        "model": texts | values,
        "metadata": st.dictionaries(texts, values, max_size=4) | values,
        "other": values,
    },
)


def submit(raw: bytes, headers: dict[str, str]) -> None:
    """Submit a body, and check that a task is stored only after 202, and is then shown unchanged."""
    bench = ApiBench(settings=Settings(provider="demo", chunk_chars=7, input_bytes=40))
    reply = bench.send(BenchRequest("POST", "http://h/api/tasks", headers, raw))
    assert reply.status in {202, 400, 413, 415, 422}, reply
    stored = bench.database.rows("SELECT input, id FROM tasks JOIN texts ON task_id = id")
    if reply.status == 202:
        sent = json.loads(raw)
        assert stored == [{"input": sent["input"], "id": key(data(reply)["id"])}]
        assert json.dumps(data(reply)["metadata"]) == json.dumps(sent.get("metadata") or {})
    else:
        assert bench.count_rows() == 0
        assert not bench.senders[0].sent
    bench.close()


@MANY
@given(raw=st.binary(max_size=200), media_type=st.none() | st.text(max_size=30), length=st.none() | st.text(max_size=8))
def test_any_bytes(raw: bytes, media_type: str | None, length: str | None) -> None:
    named = {"content-type": media_type, "content-length": length}
    submit(raw, {name: value for name, value in named.items() if value is not None})


@MANY
@given(body=values)
def test_any_json(body: Any) -> None:
    submit(json.dumps(body).encode(), {})


@MANY
@given(body=requests)
def test_near_requests(body: dict[str, Any]) -> None:
    submit(json.dumps(body).encode(), {})


@MANY
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]) | st.text(max_size=8),
    path=st.lists(st.sampled_from(["api", "tasks", "chunks", "cancel", "..", "%", ""]) | texts, max_size=5),
    query=st.lists(
        st.tuples(st.sampled_from(["wait", "limit", "cursor", "status", "include"]) | texts, texts), max_size=3
    ),
)
def test_any_url(method: str, path: list[str], query: list[tuple[str, str]]) -> None:
    bench = ApiBench()
    url = "http://h/" + "/".join(path) + "?" + "&".join(f"{name}={value}" for name, value in query)
    reply = bench.send(BenchRequest(method, url))
    assert reply.status < 500
    assert bench.count_rows() == 0
    bench.close()

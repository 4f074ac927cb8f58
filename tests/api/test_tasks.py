"""Reading, listing, cancelling, retrying and erasing tasks, the times of their calls, and outputs that are cut off."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.views import rfc3339
from src.kernel.api.router import handle
from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import Health, HttpReply, ModelCall, ModelReply, Provider
from src.kernel.calls.workers_ai import OUTPUT_TOKENS, WorkersAIProvider
from src.kernel.domain import limits
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.task import Route
from src.kernel.run.log import Log
from src.kernel.store import views as sql_of
from src.kernel.store.claims import CallKey, Continue
from src.kernel.work.worker import Host
from tests.support.api_bench import START_MS, ApiBench, BenchRequest, data, key
from tests.support.invocations import new_worker
from tests.support.scripted_model import NoGateway
from tests.support.sqlite_d1 import NETWORK_LOST

UNKNOWN = new_task_id(START_MS, b"0123456789")
NOT_IDS = [
    "x",
    "",
    "%00",
    "..",
    UNKNOWN.upper(),
    UNKNOWN + "0",
    UNKNOWN.replace("-7", "-4"),
    "1; DROP TABLE tasks",
    UNKNOWN + "%2Fchunks",
    "%F0%9F",
]
CALLS = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/chunks"),
    ("POST", "/cancel"),
    ("POST", "/retry"),
    ("GET", "?wait=5"),
    ("GET", "?include=chunks"),
]


def read(bench: ApiBench, task: dict[str, Any], query: str = "") -> Any:
    reply = bench.call("GET", task["links"]["self"] + query)
    assert reply.status == 200, reply
    return data(reply)


@pytest.mark.parametrize(("method", "rest"), CALLS)
def test_unknown_id(bench: ApiBench, method: str, rest: str) -> None:
    reply = bench.call(method, f"/api/tasks/{UNKNOWN}{rest}")
    assert (reply.status, data(reply)["code"]) == (404, "not_found")
    assert bench.loop.time() == 0


@pytest.mark.parametrize("text", NOT_IDS)
@pytest.mark.parametrize(("method", "rest"), CALLS)
def test_malformed_id(bench: ApiBench, method: str, rest: str, text: str) -> None:
    reply = bench.call(method, f"/api/tasks/{text}{rest}")
    assert (reply.status, data(reply)["code"]) == (404, "not_found")
    assert bench.database.batches == 0


@pytest.mark.parametrize(
    ("reduce", "output"),
    [("concat", "output 0\n\noutput 1\n\noutput 2"), ("none", ["output 0", "output 1", "output 2"])],
)
def test_completed(bench: ApiBench, reduce: str, output: object) -> None:
    task = bench.submit(reduce=reduce)
    bench.complete(task["id"])
    reply = bench.call("GET", task["links"]["self"])
    shown = data(reply)
    assert "Retry-After" not in reply.headers
    assert (shown["status"], shown["terminal"], shown["result"]) == ("completed", True, {"output": output})
    assert shown["usage"]["modelCalls"] == shown["usage"]["minimumCalls"] == 3
    assert (shown["finishedAt"], shown["expiresAt"]) == ("2026-09-21T14:13:20.000Z", "2026-10-21T14:13:20.000Z")


def test_failed(bench: ApiBench) -> None:
    task = bench.submit()
    bench.fail(task["id"])
    shown = read(bench, task, "?include=chunks")
    error = {"code": "model_unavailable", "message": "the model server answered 503", "retryable": True}
    assert (shown["status"], shown["error"], shown["result"]) == ("failed", error, None)
    assert shown["progress"] == {"total": 3, "completed": 1, "failed": 1, "truncated": 0}
    assert shown["chunks"] == [
        place | {"finishReason": None, "startedAt": None, "finishedAt": None, "firstStartedAt": None, "lane": None}
        for place in (
            {
                "index": 0,
                "start": 0,
                "end": 10,
                "status": "completed",
                "output": "output 0",
                "attempts": 1,
                "error": None,
            },
            {"index": 1, "start": 10, "end": 20, "status": "failed", "output": None, "attempts": 4, "error": error},
        )
    ]


def test_the_deployments_words_stand_in_for_what_a_task_does_not_say(bench: ApiBench) -> None:
    bench.limit(max_output_tokens=500)
    task = bench.submit("one\n\ntwo")
    shown = read(bench, task)["request"]
    assert (shown["model"], shown["maxOutputTokens"], shown["temperature"]) == ("demo-1", 500, None)
    assert (shown["chunk"], shown["inputCharacters"]) == ({"maxChars": 10, "overlapChars": 0}, 8)
    assert shown["instructions"].startswith("Analyse the text")
    bench.limit(chunk_chars=99, max_output_tokens=None)
    assert (read(bench, task)["request"]["chunk"]["maxChars"]) == 10
    assert read(bench, task)["request"]["maxOutputTokens"] is None


def test_chunks_before_the_end(bench: ApiBench) -> None:
    task = bench.submit("字字字字\n\n😀😀😀😀\n\nabcdefghij", chunk={"maxChars": 10, "overlapChars": 2})
    assert data(bench.call("GET", task["links"]["chunks"])) == {"chunks": [], "nextCursor": None}
    bench.begin(task["id"], 2)
    chunks = data(bench.call("GET", task["links"]["chunks"]))["chunks"]
    assert [(chunk["index"], chunk["start"], chunk["end"]) for chunk in chunks] == [(0, 0, 6), (1, 4, 12)]
    shown = read(bench, task, "?include=chunks")
    assert list(shown)[-1] == "chunks"
    assert shown["chunks"] == chunks
    assert (shown["status"], shown["progress"]["completed"]) == ("processing", 2)


@pytest.mark.parametrize("query", ["", "&include=chunks"])
@pytest.mark.parametrize("terms", [{}, {"deadlineSeconds": 12}, {"deadlineSeconds": 24.5}, {"deadlineSeconds": 60}])
@pytest.mark.parametrize("wait", ["25", "9", "1.3", "0.2"])
@pytest.mark.parametrize("route", Route)
def test_on_the_free_plan_a_wait_reads_five_times_at_most(
    route: Route, wait: str, terms: dict[str, Any], query: str
) -> None:
    bench = ApiBench(routes=(route,))
    task = bench.submit(**terms)
    reads: list[str] = []
    prepare = bench.database.prepare

    def counted(sql: str) -> Any:
        reads.extend(["read"] if sql in {sql_of.TASK.sql, sql_of.STATUS.sql, sql_of.SPANS.sql} else [])
        return prepare(sql)

    bench.database.prepare = counted  # type: ignore[method-assign]
    shown = read(bench, task, f"?wait={wait}{query}")
    assert bench.loop.time() <= float(wait) + 1e-9
    assert shown["terminal"] == (terms.get("deadlineSeconds", 60) < float(wait))
    assert 2 <= len(reads) <= 5


@pytest.mark.parametrize("ends_after", [0.2, 2, 7.3])
def test_on_the_free_plan_a_wait_looks_less_and_less_often(bench: ApiBench, ends_after: float) -> None:
    task = bench.submit()
    before = bench.database.batches

    async def both() -> Reply:
        bench.loop.call_later(ends_after, lambda: bench.loop.create_task(bench.store.cancel(key(task["id"]), 1_000)))
        return await handle(BenchRequest("GET", f"http://h{task['links']['self']}?wait=25"), bench.api, CATALOGUE)

    assert data(bench.run(both()))["status"] == "cancelled"
    assert ends_after <= bench.loop.time() <= 4 * ends_after + 0.5
    cancelling = 2
    assert bench.database.batches - before - cancelling == {0.2: 2, 2: 3, 7.3: 4}[ends_after]


@pytest.mark.parametrize("ends_after", [0.2, 7.3, 18.0])
def test_wait_notices_the_end(bench: ApiBench, ends_after: float) -> None:
    bench.limit(plan="paid")
    task = bench.submit()

    async def both() -> Reply:
        bench.loop.call_later(ends_after, lambda: bench.loop.create_task(bench.store.cancel(key(task["id"]), 1_000)))
        return await handle(BenchRequest("GET", f"http://h{task['links']['self']}?wait=25"), bench.api, CATALOGUE)

    reply = bench.run(both())
    assert data(reply)["status"] == "cancelled"
    assert ends_after <= bench.loop.time() <= ends_after + 1.0


@pytest.mark.parametrize("wait", ["0.1234567890123456", "5e-324", "1E-1", ".5", "0.", "2.5e+1"])
def test_wait_in_any_spelling(bench: ApiBench, wait: str) -> None:
    task = bench.submit()
    bench.complete(task["id"])
    assert bench.call("GET", f"{task['links']['self']}?wait={wait.replace('+', '%2B')}").status == 200


# For the rest of a path and a parameter, values that are refused under the parameter's name.
BAD_QUERIES: dict[tuple[str, str], list[str]] = {
    ("/{id}", "wait"): ["26", "25.01", "-1", "nan", "inf", "1e3", "1_0", "%D9%A1", ".", "ten", "9" * 400, "1&wait=1"],
    ("/{id}", "include"): ["text", "chunks,text"],
    ("/{id}", "verbose"): ["1"],
    ("/{id}", "Wait"): ["1"],
    ("/{id}/chunks", "limit"): ["0"],
    ("", "status"): ["done", "PENDING"],
    ("", "limit"): ["0", "101", "-1", "1.5", "%2B1", "9" * 5_000],
    ("", "cursor"): [
        *("x", "%FF", "é", "A" * 10_001, base64.urlsafe_b64encode(b"~").decode()),
        base64.urlsafe_b64encode(UNKNOWN.encode()).decode() + "=",
    ],
    ("", "offset"): ["1"],
    ("", ""): ["1"],
}


@pytest.mark.parametrize(
    ("rest", "field", "value"),
    [(rest, field, value) for (rest, field), values in BAD_QUERIES.items() for value in values],
    ids=lambda value: value[:40],
)
def test_bad_query(bench: ApiBench, rest: str, field: str, value: str) -> None:
    path = "/api/tasks" + rest.replace("{id}", bench.submit()["id"])
    before = bench.database.batches
    reply = bench.call("GET", f"{path}?{field}={value}")
    problem = data(reply)
    assert (reply.status, problem["code"], problem["errors"][0]["field"]) == (422, "invalid_fields", field)
    assert f"{field}: " in problem["detail"]
    assert bench.database.batches == before


def test_list_defaults(bench: ApiBench) -> None:
    for _ in range(21):
        bench.submit("x")
    assert len(data(bench.call("GET", "/api/tasks"))["tasks"]) == limits.LIST_LIMIT_DEFAULT
    assert len(data(bench.call("GET", f"/api/tasks?limit={limits.LIST_LIMIT_MOST}"))["tasks"]) == 21


def cancel(bench: ApiBench, task: dict[str, Any]) -> Reply:
    return bench.call("POST", task["links"]["cancel"])


def test_cancel_too_late(bench: ApiBench) -> None:
    done, failed = bench.submit(), bench.submit()
    bench.complete(done["id"])
    bench.fail(failed["id"])
    for task in (done, failed):
        before = read(bench, task)
        reply = cancel(bench, task)
        assert (reply.status, data(reply)["code"]) == (409, "already_terminal")
        assert read(bench, task) == before


def retry(bench: ApiBench, task: dict[str, Any]) -> Reply:
    return bench.call("POST", f"{task['links']['self']}/retry")


def test_retry(bench: ApiBench) -> None:
    failed, cancelled = bench.submit(), bench.submit()
    bench.fail(failed["id"])
    bench.begin(cancelled["id"], 1)
    cancel(bench, cancelled)
    bench.senders[0].refuses = True
    for task in (failed, cancelled):
        reply = retry(bench, task)
        shown = data(reply)
        assert (reply.status, reply.headers["Location"]) == (202, task["links"]["self"])
        assert 1 <= int(reply.headers["Retry-After"]) <= 30
        assert (shown["status"], shown["error"], shown["finishedAt"]) == ("pending", None, None)
        assert (shown["progress"], shown["route"]) == (
            {"total": 3, "completed": 1, "failed": 0, "truncated": 0},
            "direct",
        )
    assert bench.senders[1].sent == [failed["id"], cancelled["id"]]
    bench.complete(failed["id"])
    assert read(bench, failed)["status"] == "completed"


def test_retry_refused(bench: ApiBench) -> None:
    pending, processing, done = bench.submit(), bench.submit(), bench.submit()
    bench.begin(processing["id"], 1)
    bench.complete(done["id"])
    sent = list(bench.senders[0].sent)
    for task in (pending, processing, done):
        reply = retry(bench, task)
        assert (reply.status, data(reply)["code"]) == (409, "not_retryable")
    assert bench.senders[0].sent == sent


@pytest.mark.parametrize("state", ["pending", "processing", "completed", "failed", "cancelled"])
def test_erase(bench: ApiBench, state: str) -> None:
    task = bench.submit()
    match state:
        case "processing":
            bench.begin(task["id"], 2)
        case "completed":
            bench.complete(task["id"])
        case "failed":
            bench.fail(task["id"])
        case "cancelled":
            cancel(bench, task)
    reply = bench.call("DELETE", task["links"]["self"])
    assert (reply.status, reply.body) == (204, "")
    assert bench.count_rows() == 0
    assert bench.call("GET", task["links"]["self"]).status == 404
    assert bench.call("DELETE", task["links"]["self"]).status == 404


@pytest.mark.parametrize("act", ["retry", "erase"])
def test_a_lost_answer_of_the_database_does_not_change_ours(bench: ApiBench, act: str) -> None:
    task = bench.submit()
    bench.fail(task["id"])
    bench.senders[0].sent.clear()
    bench.database.fail(NETWORK_LOST, "after")
    if act == "retry":
        assert bench.call("POST", f"/api/tasks/{task['id']}/retry").status == 202
        assert bench.senders[0].sent == [task["id"]]
    else:
        assert bench.call("DELETE", f"/api/tasks/{task['id']}").status == 204
        assert bench.count_rows() == 0


def test_a_repeated_write_makes_no_success_of_nothing(bench: ApiBench) -> None:
    task = bench.submit()
    bench.complete(task["id"])
    bench.database.fail(NETWORK_LOST, "after")
    assert bench.call("POST", f"/api/tasks/{task['id']}/retry").status == 409


@pytest.mark.parametrize("names", ["chunks,input", "input,chunks"])
def test_input_and_chunks_together(bench: ApiBench, names: str) -> None:
    task = bench.submit("one\n\ntwo and three")
    bench.begin(task["id"], 1)
    shown = read(bench, task, f"?include={names}")
    assert (shown["input"], len(shown["chunks"])) == ("one\n\ntwo and three", 1)
    bench.database.rows("UPDATE texts SET input = ''")
    later = read(bench, task, f"?include={names}")
    assert (later["input"], later["chunks"], later["request"]) == (None, shown["chunks"], shown["request"])


CALL_SECONDS = 5
FIRST_CALLS = [{"level": 0, "index": index} for index in range(3)]


class SlowModel:
    name = "slow"
    default_model = "slow"

    async def infer(self, call: ModelCall) -> ModelReply:
        await asyncio.sleep(CALL_SECONDS)
        return ModelReply("said", 1, 1, "stop")

    async def probe(self) -> Health:
        raise AssertionError("a task's calls do not probe the model")


def shown(bench: ApiBench, task_id: str) -> dict:
    return data(bench.call("GET", f"/api/tasks/{task_id}?include=chunks"))


def test_a_chunk_shows_when_its_call_started_and_ended(bench: ApiBench) -> None:
    bench.pass_seconds(3)
    task = bench.submit()
    worker = new_worker(bench.database, provider=SlowModel(), settings=bench.settings)
    bench.run(worker.run(key(task["id"]), Host(Route.QUEUE, 600.0)))
    done = shown(bench, task["id"])
    assert [(chunk["startedAt"], chunk["finishedAt"]) for chunk in done["chunks"]] == [
        (rfc3339(START_MS + 3000), rfc3339(START_MS + 3000 + CALL_SECONDS * 1000))
    ] * 3
    assert done["calls"] == {"announcedAt": rfc3339(START_MS + 3000), "out": [], "inDoubt": []}


def test_a_task_names_the_calls_that_are_out_and_those_in_doubt(bench: ApiBench) -> None:
    task = bench.submit()
    assert task["calls"] == {"announcedAt": None, "out": [], "inDoubt": []}
    calls = [CallKey(0, index) for index in range(3)]
    bench.work(bench.claim(task["id"]), {}, Continue(180_000), in_flight=calls)
    announced = rfc3339(START_MS)
    assert shown(bench, task["id"])["calls"] == {"announcedAt": announced, "out": FIRST_CALLS, "inDoubt": []}
    bench.pass_seconds(181)
    assert shown(bench, task["id"])["calls"] == {"announcedAt": announced, "out": [], "inDoubt": FIRST_CALLS}
    bench.work(bench.claim(task["id"], holder="another"), {}, Continue(180_000), in_flight=calls)
    after = shown(bench, task["id"])
    assert (after["calls"]["out"], after["calls"]["inDoubt"]) == (FIRST_CALLS, FIRST_CALLS)


# For each chunk's text, the finish reason that the model gives for its output.
ENDS = {"one": "stop", "two": "length", "three": "content_filter", "four": "length"}
TEXT = "\n\n".join(f"{name:8}" for name in ENDS)


def choice(text: str) -> Mapping[str, object]:
    reason = ENDS[text.strip()]
    content = None if reason == "content_filter" else f"of {text.strip()}"
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def own_shape(text: str) -> Mapping[str, object]:
    """Return Workers AI's older answer: only the count of tokens shows that it was cut off."""
    cut = ENDS[text.strip()] == "length"
    usage = {"prompt_tokens": 3, "completion_tokens": OUTPUT_TOKENS if cut else 2}
    return {"response": f"of {text.strip()}", "usage": usage}


class Server:
    async def request(self, method: Literal["GET", "POST"], url: str, **sent: Any) -> HttpReply:
        return HttpReply(200, {}, json.dumps(choice(json.loads(sent["body"])["messages"][1]["content"])).encode())


class Binding(NoGateway):
    """A binding of Workers AI that answers in one of its two shapes."""

    def __init__(self, shape: Callable[[str], object]) -> None:
        self._shape = shape

    async def run(self, model: str, inputs: dict[str, Any]) -> object:
        return self._shape(inputs["messages"][1]["content"])


def openai() -> Provider:
    return OpenAIProvider(Server(), base_url="http://m/v1", api_key=None, model=None)


def workers_ai(shape: Callable[[str], object]) -> Provider:
    return WorkersAIProvider(Binding(shape), model=None, timeout_seconds=5)


PROVIDERS: dict[str, tuple[Callable[[], Provider], list[str | None]]] = {
    "an OpenAI-compatible server": (openai, list(ENDS.values())),
    "Workers AI, a chat completion": (lambda: workers_ai(choice), list(ENDS.values())),
    "Workers AI, its own shape": (lambda: workers_ai(own_shape), [None, "length", None, "length"]),
}


@pytest.mark.parametrize(("make", "reasons"), PROVIDERS.values(), ids=PROVIDERS)
def test_a_cut_output_is_marked_wherever_it_is_shown(make: Callable[[], Provider], reasons: list[str | None]) -> None:
    provider = make()
    bench = ApiBench(provider=provider)
    task = bench.submit(TEXT)
    log = Log(bench.log_lines.append)
    worker = new_worker(bench.database, provider=provider, settings=bench.settings, log=log)
    bench.run(asyncio.wait_for(worker.run(key(task["id"]), Host(Route.QUEUE, 600.0)), 60))

    truncated = sum(reason in {"length", "content_filter"} for reason in reasons)
    shown = data(bench.call("GET", f"{task['links']['self']}?include=chunks"))
    assert (shown["status"], shown["progress"]["truncated"]) == ("completed", truncated)
    assert [chunk["finishReason"] for chunk in shown["chunks"]] == reasons
    outputs = ["" if reason == "content_filter" else f"of {text}" for text, reason in zip(ENDS, reasons, strict=True)]
    assert [chunk["output"] for chunk in shown["chunks"]] == outputs
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert listed["progress"]["truncated"] == truncated
    lines = [json.loads(line) for line in bench.log_lines]
    said = {int(chunk): reason for line in lines for chunk, reason in line.get("truncated", {}).items()}
    assert said == {index: reason for index, reason in enumerate(reasons) if reason in {"length", "content_filter"}}

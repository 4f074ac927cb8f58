"""`GET /api/tasks/{id}/attempts` shows each known call of a task, structured or not, although no call has a row."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ModelError, ModelRefused, ModelTimeout, ModelUnavailable
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Failure, Route
from src.kernel.store.claims import Continue, Fail
from src.kernel.work.worker import Host
from tests.support.api_bench import START_MS, TEXTS, WEBHOOK_KEY, ApiBench, bearer, data, key, object_of
from tests.support.scripted_model import ScriptedModel
from tests.support.worker_bench import Script

HOST = Host(Route.QUEUE, 600.0)
TABLES = ("tasks", "texts", "segments", "merges", "failures")


class Troubled(ApiBench):
    """A deployment whose model fails the calls in `fails`: a call's text, and its number among calls for it."""

    def __init__(self, fails: dict[tuple[str, int], ModelError] | None = None, concurrency: int = 1) -> None:
        self.model = Script(self._act)
        self._fails = fails or {}
        self._asked: dict[str, int] = {}
        super().__init__(
            settings=Settings(provider="demo", chunk_chars=5, webhook_key=WEBHOOK_KEY, concurrency=concurrency),
            provider=self.model,
        )

    def _act(self, call: ModelCall, number: int) -> object:
        self._asked[call.user] = self._asked.get(call.user, 0) + 1
        return self._fails.get((call.user.strip(), self._asked[call.user]))

    def rows(self) -> int:
        return sum(len(self.database.rows(f"SELECT 1 FROM {table}")) for table in TABLES)  # noqa: S608 - constants


@pytest.fixture
def troubled() -> Troubled:
    """Make a deployment whose model fails the first two calls for the second chunk, and answers the third call."""
    return Troubled({("two", 1): ModelUnavailable("the provider answered 503"), ("two", 2): ModelTimeout("no reply")})


def page(bench: ApiBench, task_id: str, **query: object) -> Any:
    reply = bench.call("GET", f"/api/tasks/{task_id}/attempts?{urlencode(query)}")
    assert reply.status == 200, reply
    return data(reply)


def all_of(bench: ApiBench, task_id: str, **query: object) -> list[Any]:
    found: list[Any] = []
    cursor: dict[str, object] = {}
    while True:
        read = page(bench, task_id, **query, **cursor)
        assert len(read["attempts"]) <= query.get("limit", limits.LIST_LIMIT_DEFAULT)  # type: ignore[operator]
        found += read["attempts"]
        if read["nextCursor"] is None:
            return found
        assert read["attempts"], "an empty page leads nowhere"
        cursor = {"cursor": read["nextCursor"]}


def said(attempts: list[Any], *more: str) -> list[tuple[object, ...]]:
    return [tuple(one[name] for name in ("level", "index", "number", "outcome", *more)) for one in attempts]


def test_each_call_of_a_task_with_failures(troubled: Troubled) -> None:
    task_id = troubled.submit("one\n\ntwo\n\nthree")["id"]
    troubled.work_on(task_id)
    read = page(troubled, task_id)
    assert said(read["attempts"]) == [
        (0, 0, 1, "succeeded"),
        (0, 1, 1, "failed"),
        (0, 1, 2, "failed"),
        (0, 1, 3, "succeeded"),
        (0, 2, 1, "succeeded"),
    ]
    first, second = read["attempts"][1:3]
    assert (first["code"], first["message"]) == ("model_unavailable", "the provider answered 503")
    assert first["answered"] is True
    assert (second["code"], second["answered"]) == ("model_timeout", False)
    assert {(one["model"], one["route"]) for one in read["attempts"]} == {("script-1", "queue")}
    assert {one["milliseconds"] for one in read["attempts"]} == {1000}
    assert first["finishedAt"] < second["startedAt"]
    assert read["counts"] == {"calls": 5, "succeeded": 3, "failed": 2, "inDoubt": 0, "out": 0, "unlisted": 0}
    assert read["nextCursor"] is None


def test_the_log_of_a_task_without_failures_has_no_row() -> None:
    smooth, rough = Troubled(), Troubled({("two", at): ModelUnavailable("503") for at in (1, 2, 3)})
    made = {}
    for bench in (smooth, rough):
        task_id = bench.submit("one\n\ntwo\n\nthree")["id"]
        bench.work_on(task_id)
        made[bench] = bench.rows(), len(page(bench, task_id)["attempts"])
    assert made == {smooth: (3, 3), rough: (4, 6)}


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("outcome", ["failed", "in_doubt", "succeeded", "out"])
def test_calls_of_one_outcome(troubled: Troubled, outcome: str, limit: int) -> None:
    task_id = troubled.submit("one\n\ntwo\n\nthree")["id"]
    troubled.work_on(task_id)
    everything = page(troubled, task_id)
    wanted = [one for one in everything["attempts"] if one["outcome"] == outcome]
    assert all_of(troubled, task_id, outcome=outcome, limit=limit) == wanted
    assert page(troubled, task_id, outcome=outcome, limit=1)["counts"] == everything["counts"]


def test_a_log_has_the_calls_of_its_own_task() -> None:
    bench = Troubled()
    first, second = (bench.submit("one")["id"] for _ in range(2))
    bench.work_on(first)
    bench.work_on(second)
    started = [page(bench, task_id)["attempts"][0]["startedAt"] for task_id in (first, second)]
    assert started[0] < started[1]


def test_merge_levels_are_shown() -> None:
    bench = Troubled()
    task_id = bench.submit("one\n\ntwo\n\nthree", reduce="merge")["id"]
    bench.work_on(task_id)
    assert said(page(bench, task_id)["attempts"]) == [(0, at, 1, "succeeded") for at in range(3)] + [
        (1, 0, 1, "succeeded")
    ]
    assert said(all_of(bench, task_id, limit=1)) == said(page(bench, task_id)["attempts"])


def test_a_retry_keeps_the_log() -> None:
    bench = Troubled({("two", 1): ModelRefused("the provider answered 404")})
    task_id = bench.submit("one\n\ntwo\n\nthree")["id"]
    bench.work_on(task_id)
    assert bench.call("POST", f"/api/tasks/{task_id}/retry").status == 202
    bench.settle()
    assert page(bench, task_id)["counts"]["failed"] == 1
    bench.work_on(task_id)
    read = page(bench, task_id)
    assert said(read["attempts"])[1:3] == [(0, 1, 1, "failed"), (0, 1, 1, "succeeded")]
    assert read["counts"] == {"calls": 4, "succeeded": 3, "failed": 1, "inDoubt": 0, "out": 0, "unlisted": 0}
    chunks = data(bench.call("GET", f"/api/tasks/{task_id}/chunks"))["chunks"]
    assert [one["attempts"] for one in chunks] == [1, 1, 1]


def test_calls_out_and_in_doubt(troubled: Troubled) -> None:
    """Announced calls count as in flight (`out`) while their worker has its lease, and as in doubt afterwards."""
    bench = troubled
    task_id = bench.submit("one\n\ntwo\n\nthree")["id"]
    claim = bench.claim(task_id)
    bench.work(claim, {0: "output 0"}, Continue(180_000), in_flight=[(0, 1), (0, 2)])
    read = page(bench, task_id)
    assert said(read["attempts"]) == [(0, 0, 1, "succeeded"), (0, 1, None, "out"), (0, 2, None, "out")]
    assert read["counts"] == {"calls": 3, "succeeded": 1, "failed": 0, "inDoubt": 0, "out": 2, "unlisted": 0}
    announced = data(bench.call("GET", f"/api/tasks/{task_id}"))["calls"]["announcedAt"]
    out = read["attempts"][1]
    assert (out["announcedAt"], out["answered"], out["startedAt"]) == (announced, None, None)
    bench.pass_seconds(181)
    assert said(page(bench, task_id)["attempts"])[1:] == [(0, 1, None, "in_doubt"), (0, 2, None, "in_doubt")]
    assert page(bench, task_id)["counts"]["inDoubt"] == 2
    bench.claim(task_id, holder="second")
    taken = page(bench, task_id)
    assert said(taken["attempts"])[1:] == [(0, 1, None, "in_doubt"), (0, 2, None, "in_doubt")]
    assert taken["attempts"][1]["answered"] is False
    assert taken["counts"] == {"calls": 3, "succeeded": 1, "failed": 0, "inDoubt": 2, "out": 0, "unlisted": 0}


def test_earlier_calls_in_doubt_are_only_counted(troubled: Troubled) -> None:
    """After a takeover, the log lists only those calls in doubt that the previous claim had announced."""
    task_id = troubled.submit("one\n\ntwo")["id"]
    for holder in ("first", "second"):
        claim = troubled.claim(task_id, holder=holder)
        bill: dict[str, Any] = {"calls_in_doubt": claim.calls_in_doubt, "in_flight": [(0, 0), (0, 1)]}
        troubled.work(claim, {}, Continue(180_000), **bill)
        troubled.pass_seconds(181)
    assert said(page(troubled, task_id)["attempts"]) == [(0, at, None, "in_doubt") for at in (0, 0, 1, 1)]
    troubled.claim(task_id, holder="third")
    read = page(troubled, task_id)
    assert said(read["attempts"]) == [(0, 0, None, "in_doubt"), (0, 1, None, "in_doubt")]
    assert read["counts"] == {"calls": 4, "succeeded": 0, "failed": 0, "inDoubt": 2, "out": 0, "unlisted": 2}


def test_a_failure_that_older_code_wrote(bench: ApiBench) -> None:
    task_id = bench.submit("one\n\ntwo\n\nthree")["id"]
    bench.fail(task_id)
    (failed,) = page(bench, task_id, outcome="failed")["attempts"]
    assert (failed["number"], failed["code"]) == (4, "model_unavailable")
    assert (failed["startedAt"], failed["answered"]) == (None, None)
    assert page(bench, task_id)["counts"]["unlisted"] == 3
    bench.database.rows("UPDATE failures SET held = ?", f"[{START_MS + 1000}, {START_MS + 3500}]")
    (failed,) = page(bench, task_id, outcome="failed")["attempts"]
    assert (failed["startedAt"], failed["milliseconds"]) == ("2026-09-21T14:13:21.000Z", 2500)


def test_an_entry_may_have_further_members(troubled: Troubled) -> None:
    """The present code can read a failed call's log entry that has additional members, which later code may write."""
    task_id = troubled.submit("two")["id"]
    troubled.work_on(task_id)
    before = page(troubled, task_id)
    troubled.database.rows("UPDATE failures SET log = json_insert(log, '$[0][#]', 'more')")
    assert page(troubled, task_id) == before


def test_the_latest_ten_failures_of_an_output_are_kept() -> None:
    message = "y" * 400
    bench = Troubled({("one", at): ModelUnavailable(message) for at in range(1, 13)})
    task_id = bench.submit("one")["id"]
    while bench.work_on(task_id)["status"] == "pending":
        bench.pass_seconds(60)
    read = page(bench, task_id)
    assert [one["number"] for one in read["attempts"]] == list(range(3, 14))
    assert read["counts"] == {"calls": 13, "succeeded": 1, "failed": 10, "inDoubt": 0, "out": 0, "unlisted": 2}
    assert {one["message"] for one in read["attempts"][:-1]} == {message[: limits.ATTEMPT_MESSAGE_CHARS_MOST]}


def test_a_task_that_is_gone_or_anothers(troubled: Troubled) -> None:
    task_id = troubled.submit("one\n\ntwo\n\nthree")["id"]
    troubled.work_on(task_id)
    assert troubled.call("DELETE", f"/api/tasks/{task_id}").status == 204
    assert troubled.database.rows("SELECT 1 FROM failures") == []
    for one in (task_id, new_task_id(START_MS, b"0123456789"), "x"):
        assert troubled.call("GET", f"/api/tasks/{one}/attempts").status == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("outcome=lost", "outcome"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=0.1.", "cursor"),
        ("cursor=-1.0", "cursor"),
        ("status=failed", "status"),
    ],
)
def test_bad_parameters_are_refused(bench: ApiBench, query: str, field: str) -> None:
    reply = bench.call("GET", f"/api/tasks/{bench.submit()['id']}/attempts?{query}")
    assert (reply.status, [error["field"] for error in data(reply)["errors"]]) == (422, [field])


def test_the_log_needs_the_scope_read(keyed: ApiBench) -> None:
    writer, reader = bearer(keyed.make_key(Scope.WRITE)), bearer(keyed.make_key(Scope.READ))
    theirs = bearer(keyed.make_key(tenant="theirs"))
    task_id = data(keyed.call("POST", "/api/tasks", {"input": "x"}, writer))["id"]
    failure = Failure(TaskCode.MODEL_REFUSED, "a secret", False)
    keyed.work(keyed.claim(task_id), {}, Fail(1_000_000, failure), failed=failure)
    path = f"/api/tasks/{task_id}/attempts"
    refused = keyed.call("GET", path, headers=writer)
    assert (refused.status, "secret" in refused.body) == (403, False)
    assert keyed.call("GET", path, headers=theirs).status == 404
    assert data(keyed.call("GET", path, headers=reader))["attempts"][0]["message"] == "a secret"


def test_calls_in_doubt_of_a_cancelled_task() -> None:
    """If a worker gives up its calls because the task was cancelled, the log lists them as in doubt."""
    bench = Troubled(concurrency=2)
    bench.model.seconds = lambda number: 1.0 if number == 1 else 9.0

    async def cancel_in_mid_call() -> None:
        running = asyncio.ensure_future(bench.worker.run(key(task_id), HOST))
        await asyncio.sleep(0.5)
        await bench.store.cancel(key(task_id), 1_000_000)
        await running

    task_id = bench.submit("one\n\ntwo\n\nthree")["id"]
    bench.run(cancel_in_mid_call())
    read = page(bench, task_id)
    task = data(bench.call("GET", f"/api/tasks/{task_id}"))
    assert task["status"] == "cancelled"
    assert task["usage"]["inDoubt"] == 1 == read["counts"]["inDoubt"]
    assert task["calls"]["inDoubt"] == [{"level": 0, "index": 1}]
    assert said(read["attempts"]) == [(0, 0, 1, "succeeded"), (0, 1, None, "in_doubt")]
    assert read["counts"]["unlisted"] == 0


def test_a_bulk_retry_keeps_the_log() -> None:
    bench = Troubled({("one", 1): ModelRefused("the provider answered 404")})
    task_id = bench.submit("one")["id"]
    bench.work_on(task_id)
    assert data(bench.call("POST", "/api/tasks/retry", {}))["retried"] == 1
    bench.settle()
    bench.work_on(task_id)
    assert said(page(bench, task_id)["attempts"]) == [(0, 0, 1, "failed"), (0, 0, 1, "succeeded")]


def test_a_page_can_begin_behind_the_last_line_of_the_longest_batch(troubled: Troubled) -> None:
    task_id = troubled.submit("one")["id"]
    assert page(troubled, task_id, cursor=f"0.{limits.BATCH_LINES_MOST - 1}.1")["attempts"] == []


TEXT = "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"  # the task's text has four chunks of at most ten characters
SCHEMA = object_of(said=TEXTS)
BAD, CUT = '{"said": 1}', ModelReply('{"said": []}', 10, 1, "length")
REFUSED = ModelRefused("the provider answered 400", of_call=True)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def formed(model: ScriptedModel) -> ApiBench:
    return ApiBench(settings=Settings(provider="demo", chunk_chars=10, concurrency=1), provider=model)


def test_a_rejected_answer_is_a_failed_call_with_an_answer(formed: ApiBench, model: ScriptedModel) -> None:
    model.says = {"second": [BAD, '{"said": []}'], "third": [BAD, BAD], "fourth": [CUT]}
    task_id = formed.submit(TEXT, outputSchema=SCHEMA, onChunkFailure="gap")["id"]
    assert formed.work_on(task_id)["status"] == "completed"
    read = page(formed, task_id, limit=100)
    assert said(read["attempts"], "code") == [
        (0, 0, 1, "succeeded", None),
        (0, 1, 1, "failed", "invalid_output"),
        (0, 1, 2, "succeeded", None),
        (0, 2, 1, "failed", "invalid_output"),
        (0, 2, 2, "failed", "invalid_output"),
        (0, 3, 1, "failed", "output_truncated"),
    ]
    failed = [one for one in read["attempts"] if one["outcome"] == "failed"]
    assert [one["answered"] for one in failed] == [True] * 4
    assert {(one["model"], one["route"]) for one in failed} == {("scripted-1", "queue")}
    assert all(one["startedAt"] and one["finishedAt"] and one["message"] for one in failed)
    assert read["counts"] == {"calls": 6, "succeeded": 2, "failed": 4, "inDoubt": 0, "out": 0, "unlisted": 0}


@pytest.mark.parametrize("reduce", ["concat", "merge"])
def test_copied_outputs_are_no_calls_of_the_new_task(formed: ApiBench, model: ScriptedModel, reduce: str) -> None:
    """Its log has only its own calls, before the first one and after its outputs are stored."""
    model.says = {"second": [REFUSED, "the second"]}
    old_id = formed.submit(TEXT, reduce=reduce, onChunkFailure="gap")["id"]
    assert formed.work_on(old_id)["status"] == "completed"
    before = page(formed, old_id, limit=100)
    new_id = data(formed.call("POST", f"/api/tasks/{old_id}/retry"))["id"]
    formed.settle()
    assert new_id != old_id
    nothing = {"calls": 0, "succeeded": 0, "failed": 0, "inDoubt": 0, "out": 0, "unlisted": 0}
    assert page(formed, new_id, limit=100) == {"attempts": [], "counts": nothing, "nextCursor": None}
    assert formed.work_on(new_id)["status"] == "completed"
    made = [(0, 1, 1, "succeeded", None), *([(1, 0, 1, "succeeded", None)] if reduce == "merge" else [])]
    read = page(formed, new_id, limit=100)
    assert said(read["attempts"], "code") == made
    assert read["counts"] == {**nothing, "calls": len(made), "succeeded": len(made)}
    chunks = data(formed.call("GET", f"/api/tasks/{new_id}/chunks"))["chunks"]
    assert [one["index"] for one in chunks] == [0, 1, 2, 3]
    assert page(formed, old_id, limit=100) == before

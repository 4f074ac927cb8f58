"""Two tenants use the whole API, each compared with a model, and neither sees the other. The campaign: more."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import new_task_id, split_task_key, task_key_of
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import DEADLINE_EXCEEDED, Failure, Route
from src.kernel.store.claims import Claim, Continue, Fail, Finish, Next
from tests.support.api_bench import START_MS, ApiBench, bearer, data
from tests.support.event_streams import read_events
from tests.support.invocations import new_sweep, new_worker
from tests.support.store_bench import stored_outputs
from tests.support.tiers import sized

Json = dict[str, Any]
Spec = Mapping[str, frozenset[str]]

TENANTS = ("ours", "theirs")
IN_FLIGHT, CHARACTERS, RETENTION_DAYS = 4, 150, 0.01
FAILURE = Failure(TaskCode.MODEL_UNAVAILABLE, "503", True)
UNKNOWN = new_task_id(START_MS - 1, b"0123456789")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _inside(place: str, spec: Spec) -> Spec:
    return {f"{place}.{inner}" if inner else place: names for inner, names in spec.items()}


_ERROR = _names("code message retryable")
_CHUNK: Spec = {
    "": _names("index start end status output attempts error finishReason startedAt finishedAt firstStartedAt lane"),
    "error": _ERROR,
}
_TASK: Spec = {
    "": _names(
        "id name status terminal route progress waitingFor result error usage attempts metadata createdAt startedAt "
        "finishedAt expiresAt deadlineAt maxModelCalls maxCost links"
    ),
    "progress": _names("total completed failed truncated"),
    "result": _names("output"),
    "error": _ERROR,
    "usage": _names("modelCalls minimumCalls inDoubt inputTokens outputTokens cachedInputTokens cost"),
    "links": _names("self chunks cancel retry events"),
    "waitingFor": _names("reason until ahead"),
}
_WHOLE: Spec = {
    **_TASK,
    "": _TASK[""] | {"request", "lastError", "estimatedFinishAt", "calls"},
    "lastError": _names("code message at chunk calls"),
    "calls": _names("announcedAt out inDoubt"),
    "calls.out[]": _names("level index"),
    "calls.inDoubt[]": _names("level index"),
    "request": _names("model instructions reduce chunk maxOutputTokens temperature modelOptions inputCharacters"),
    "request.chunk": _names("maxChars overlapChars"),
    "request.modelOptions": frozenset(),
}
_KEY = _names("id label scopes createdAt expiresAt")
PROBLEM: Spec = {
    "": _names("type title status detail code requestId limit errors"),
    "errors[]": _names("field message"),
}
ALLOWED: Mapping[str, Spec] = {
    "POST /api/tasks": _WHOLE,
    "GET /api/tasks": {"": _names("tasks nextCursor"), **_inside("tasks[]", _TASK)},
    "GET /api/tasks/{id}": _WHOLE,
    "GET /api/tasks/{id}?include=chunks": {**_WHOLE, "": _WHOLE[""] | {"chunks"}, **_inside("chunks[]", _CHUNK)},
    "GET /api/tasks/{id}/chunks": {"": _names("chunks nextCursor"), **_inside("chunks[]", _CHUNK)},
    "GET /api/tasks/{id}/attempts": {
        "": _names("attempts counts nextCursor"),
        "attempts[]": _names(
            "level index number outcome answered model route lane announcedAt startedAt finishedAt milliseconds code "
            "message"
        ),
        "counts": _names("calls succeeded failed inDoubt out unlisted"),
    },
    "POST /api/tasks/{id}/cancel": _WHOLE,
    "POST /api/tasks/{id}/retry": _WHOLE,
    "POST /api/keys": {"": _KEY | {"key"}},
    "GET /api/keys": {"": _names("keys"), "keys[]": _KEY},
}


def _places(value: object, place: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    if isinstance(value, list):
        for item in value:
            yield from _places(item, f"{place}[]")
    if isinstance(value, dict):
        yield place, frozenset(value)
        for name, inner in value.items():
            if name != "metadata":
                yield from _places(inner, f"{place}.{name}" if place else name)


@dataclass
class ModelTask:
    """What the model knows about a task: the facts that its client may see. Times are the bench's milliseconds."""

    id: str
    body: Json
    created_ms: int
    total: int
    status: str = "pending"
    done: int = 0
    deadline_at: int | None = None
    ended_ms: int = 0
    error: str | None = None

    @property
    def open(self) -> bool:
        return self.status in {"pending", "processing"}

    def end(self, status: str, now_ms: int, error: str | None = None) -> None:
        self.status, self.ended_ms, self.error = status, now_ms, error

    def look(self, now_ms: int) -> None:
        if self.open and self.deadline_at is not None and self.deadline_at <= now_ms:
            self.end("failed", now_ms, DEADLINE_EXCEEDED)


@dataclass
class Tenant:
    """A tenant, its keys and its tasks' model. `words` are texts that the other one must not see."""

    name: str
    admin: str
    tasks: dict[str, ModelTask] = field(default_factory=dict)
    submissions: dict[str, tuple[str, int]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    day: int = 0
    characters: int = 0
    words: set[str] = field(default_factory=set)

    @property
    def canary(self) -> str:
        return f"canary-{self.name}-7Q9Z"

    def used(self, now_ms: int) -> int:
        return self.characters if self.day == now_ms // 86_400_000 else 0

    def forget(self, id_: str) -> None:
        del self.tasks[id_]
        self.submissions = {name: held for name, held in self.submissions.items() if held[0] != id_}


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


tenants = st.sampled_from(TENANTS)
picks = st.integers(0, 1_000)


class TwoTenants(RuleBasedStateMachine):
    """Two tenants and their models. Rules are acts of a tenant, a worker, the sweep or the clock."""

    def __init__(self) -> None:
        super().__init__()
        fixed = Settings(provider="demo", chunk_chars=30, retention_days=RETENTION_DAYS)
        self.bench = ApiBench(settings=fixed, keys=True, routes=(Route.QUEUE, Route.DURABLE_OBJECT))
        self.bench.limit(tasks_in_flight_most=IN_FLIGHT, characters_a_day_most=CHARACTERS)
        self.tenants = {name: Tenant(name, self.bench.make_key(tenant=name)) for name in TENANTS}
        for tenant in self.tenants.values():
            id_ = tenant.admin.split("_")[1]
            tenant.keys[id_] = tenant.admin
            tenant.words |= {tenant.canary, id_, tenant.admin, tenant.admin.split("_", 2)[2], f"{tenant.name}:"}

    def teardown(self) -> None:
        """Close the bench, and check that its log has no client's text and no secret."""
        logged = "\n".join(self.bench.log_lines)
        for tenant in self.tenants.values():
            assert tenant.canary not in logged
            assert not [key for key in tenant.keys.values() if key.split("_", 2)[2] in logged]
        self.bench.close()

    @property
    def now(self) -> int:
        return self.bench.now_ms()

    def ask(
        self, tenant: Tenant, call: str, path: str, body: object = None, key: str | None = None, **headers: str
    ) -> Reply:
        sent = bearer(key or tenant.admin) | headers
        reply = self.bench.call(call.partition(" ")[0], path, body, sent)
        text = reply.body + "\n".join(reply.headers.values())
        for other in self.tenants.values():
            if other is not tenant:
                assert not [word for word in other.words if word in text], (call, text)
        if reply.body:
            allowed = ALLOWED[call] if reply.status < 300 else PROBLEM
            for place, names in _places(data(reply)):
                assert place in allowed, (call, place)
                assert names <= allowed[place], (call, place, names - allowed[place])
        return reply

    def pick(self, pick: int) -> tuple[str, str]:
        known = [(name, id_) for name in TENANTS for id_ in self.tenants[name].tasks]
        return ("nobody", UNKNOWN) if pick % 10 == 0 or not known else known[pick % len(known)]

    def shows(self, task: Json, model: ModelTask, *, results: bool = True) -> None:
        assert (task["id"], task["status"], task["terminal"]) == (model.id, model.status, not model.open)
        assert task["metadata"] == model.body["metadata"]
        assert task["progress"] == {"total": model.total, "completed": model.done, "failed": 0, "truncated": 0}
        assert (task["createdAt"], task["deadlineAt"]) == (_time(model.created_ms), _time(model.deadline_at))
        assert task["finishedAt"] == (None if model.open else _time(model.ended_ms))
        assert (task["error"] or {}).get("code") == model.error
        wanted = {"output": "\n\n".join([model.body["metadata"]["word"]] * model.total)}
        assert task["result"] == (wanted if results and model.status == "completed" else None)

    # --- calls on tasks -------------------------------------------------------------------------------------------

    @rule(
        name=tenants,
        label=st.sampled_from([None, "k1", "k2", "ours:k1"]),
        parts=st.integers(1, 3),
        deadline=st.sampled_from([None, None, 5, 600]),
        calls=st.sampled_from([None, 9]),
    )
    def submit(self, name: str, label: str | None, parts: int, deadline: int | None, calls: int | None) -> None:
        tenant = self.tenants[name]
        body: Json = {"input": "\n\n".join([tenant.canary] * parts), "metadata": {"word": tenant.canary}}
        body |= {} if deadline is None else {"deadlineSeconds": deadline}
        body |= {} if calls is None else {"maxModelCalls": calls}
        headers = {} if label is None else {"idempotency-key": label}
        now, size = self.now, len(body["input"])
        reply = self.ask(tenant, "POST /api/tasks", "/api/tasks", body, **headers)
        held = tenant.submissions.get(label or "")
        if held is not None and held[1] <= now:
            del tenant.submissions[label or ""]
            held = None
        if held is not None:
            model = tenant.tasks[held[0]]
            if body != model.body:
                assert (reply.status, data(reply)["code"]) == (422, "idempotency_mismatch")
                return
            assert (reply.status, reply.headers["Idempotency-Replayed"]) == (202, "true")
            self.shows(data(reply), model)
            return
        assert "Idempotency-Replayed" not in reply.headers
        full = sum(task.open for task in tenant.tasks.values()) >= IN_FLIGHT
        if full or tenant.used(now) + size > CHARACTERS:
            limit = "tasks_in_flight" if full else "characters_per_day"
            assert (reply.status, data(reply)["limit"]) == (429, limit)
            return
        assert reply.status == 202
        shown = data(reply)
        at = None if deadline is None else now + deadline * 1000
        tenant.tasks[shown["id"]] = ModelTask(shown["id"], body, now, shown["progress"]["total"], deadline_at=at)
        tenant.words.add(shown["id"])
        tenant.characters, tenant.day = tenant.used(now) + size, now // 86_400_000
        if label is not None:
            tenant.submissions[label] = (shown["id"], now + limits.IDEMPOTENCY_SECONDS * 1000)
        self.shows(shown, tenant.tasks[shown["id"]])

    @rule(name=tenants, pick=picks, chunks=st.booleans())
    def read(self, name: str, pick: int, *, chunks: bool) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        query = "?include=chunks" if chunks else ""
        reply = self.ask(tenant, f"GET /api/tasks/{{id}}{query}", f"/api/tasks/{id_}{query}")
        if owner != name:
            assert reply.status == 404
            return
        model = tenant.tasks[id_]
        model.look(self.now)
        self.shows(data(reply), model)
        if chunks:
            assert [chunk["output"] for chunk in data(reply)["chunks"]] == [tenant.canary] * model.done

    @rule(name=tenants, pick=picks)
    def follow(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        if owner == name and tenant.tasks[id_].open:
            return
        path = f"/api/tasks/{id_}/events"
        if owner != name:
            assert self.ask(tenant, "GET /api/tasks/{id}/events", path).status == 404
            return
        text = self.bench.call("GET", path, None, bearer(tenant.admin)).body
        for other in self.tenants.values():
            assert other is tenant or not [word for word in other.words if word in text]
        received = read_events(text)
        model = tenant.tasks[id_]
        assert [each.json["output"] for each in received if each.name == "chunk"] == [tenant.canary] * model.done
        self.shows(received[-1].json, model)

    @rule(name=tenants, pick=picks)
    def read_chunks(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        reply = self.ask(tenant, "GET /api/tasks/{id}/chunks", f"/api/tasks/{id_}/chunks")
        if owner != name:
            assert reply.status == 404
            return
        assert [chunk["output"] for chunk in data(reply)["chunks"]] == [tenant.canary] * tenant.tasks[id_].done

    @rule(name=tenants, pick=picks)
    def read_attempts(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        path = f"/api/tasks/{id_}/attempts?outcome=succeeded&limit=100"
        reply = self.ask(tenant, "GET /api/tasks/{id}/attempts", path)
        if owner != name:
            assert reply.status == 404
            return
        model = tenant.tasks[id_]
        assert len(data(reply)["attempts"]) == data(reply)["counts"]["succeeded"] == model.done

    @rule(name=tenants, pick=picks, whole=st.booleans())
    def search(self, name: str, pick: int, *, whole: bool) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        for q in (id_ if whole else id_[:13], self.tenants.get(owner, tenant).canary):
            found = data(self.ask(tenant, "GET /api/tasks", f"/api/tasks?limit=100&q={q}"))["tasks"]
            assert {task["id"] for task in found} <= tenant.tasks.keys()
            for task in found:
                tenant.tasks[task["id"]].look(self.now)  # listing tasks also fails those whose deadline has passed
            by_id = {task_id for task_id in tenant.tasks if task_id.startswith(q)}
            assert by_id <= {task["id"] for task in found}
            assert owner not in self.tenants or owner == name or not found or by_id

    @rule(
        name=tenants,
        status=st.sampled_from([None, "pending", "processing", "completed", "failed", "cancelled"]),
        after=st.none() | picks,
        before=st.none() | picks,
        limit=st.integers(1, 4),
    )
    def list_tasks(self, name: str, status: str | None, after: int | None, before: int | None, limit: int) -> None:
        tenant = self.tenants[name]
        times = [START_MS, *(task.created_ms for other in self.tenants.values() for task in other.tasks.values())]
        low = None if after is None else times[after % len(times)]
        high = None if before is None else times[before % len(times)]
        query = {"status": status, "createdAfter": _time(low), "createdBefore": _time(high), "limit": str(limit)}
        shown: list[Json] = []
        cursor: str | None = ""
        while cursor is not None:
            asked = {key: value for key, value in (query | {"cursor": cursor}).items() if value is not None}
            page = data(self.ask(tenant, "GET /api/tasks", f"/api/tasks?{urlencode(asked)}"))
            assert len(page["tasks"]) <= limit
            shown += page["tasks"]
            cursor = page["nextCursor"]
        matching = [
            task
            for task in tenant.tasks.values()
            if (status is None or task.status == status)
            and (low is None or task.created_ms > low)
            and (high is None or task.created_ms < high)
        ]
        for task in matching:
            task.look(self.now)
        wanted = [task for task in matching if status is None or task.status == status]
        assert [task["id"] for task in shown] == sorted((task.id for task in wanted), reverse=True)
        for view in shown:
            self.shows(view, tenant.tasks[view["id"]], results=False)

    @rule(name=tenants, pick=picks)
    def cancel(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        now = self.now
        reply = self.ask(tenant, "POST /api/tasks/{id}/cancel", f"/api/tasks/{id_}/cancel")
        if owner != name:
            assert (reply.status, self.now) == (404, now)
            return
        model = tenant.tasks[id_]
        if model.open:
            model.end("cancelled", now)
        if model.status != "cancelled":
            assert reply.status == 409
            return
        assert reply.status == 200
        self.shows(data(reply), model)

    @rule(name=tenants, pick=picks)
    def retry(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        reply = self.ask(tenant, "POST /api/tasks/{id}/retry", f"/api/tasks/{id_}/retry")
        if owner != name:
            assert reply.status == 404
            return
        model = tenant.tasks[id_]
        model.look(self.now)
        if model.status not in {"failed", "cancelled"}:
            assert (reply.status, data(reply)["code"]) == (409, "not_retryable")
        elif sum(task.open for task in tenant.tasks.values()) >= IN_FLIGHT:
            assert (reply.status, data(reply)["limit"]) == (429, "tasks_in_flight")
        else:
            model.status, model.error = "pending", None
            if (seconds := model.body.get("deadlineSeconds")) is not None:
                model.deadline_at = self.now + seconds * 1000
            assert reply.status == 202
            self.shows(data(reply), model)

    @rule(name=tenants, pick=picks)
    def delete(self, name: str, pick: int) -> None:
        tenant, (owner, id_) = self.tenants[name], self.pick(pick)
        reply = self.ask(tenant, "DELETE /api/tasks/{id}", f"/api/tasks/{id_}")
        assert reply.status == (204 if owner == name else 404)
        if owner == name:
            tenant.forget(id_)

    # --- calls on keys --------------------------------------------------------------------------------------------

    @precondition(lambda self: max(len(tenant.keys) for tenant in self.tenants.values()) < 6)
    @rule(name=tenants, scopes=st.sampled_from([["read"], ["write"], ["admin"], ["read", "write", "admin"]]))
    def make_key(self, name: str, scopes: list[str]) -> None:
        tenant = self.tenants[name]
        shown = data(self.ask(tenant, "POST /api/keys", "/api/keys", {"scopes": scopes, "label": tenant.canary}))
        tenant.keys[shown["id"]] = shown["key"]
        tenant.words |= {shown["id"], shown["key"].split("_", 2)[2]}
        reply = self.ask(tenant, "GET /api/tasks", "/api/tasks?status=completed", key=shown["key"])
        assert reply.status == (200 if "read" in scopes else 403)

    @rule(name=tenants)
    def list_keys(self, name: str) -> None:
        tenant = self.tenants[name]
        shown = data(self.ask(tenant, "GET /api/keys", "/api/keys"))["keys"]
        assert {key["id"] for key in shown} == set(tenant.keys)

    @rule(name=tenants, pick=picks)
    def revoke(self, name: str, pick: int) -> None:
        tenant = self.tenants[name]
        known = [
            (other, id_) for other in self.tenants.values() for id_, text in other.keys.items() if text != tenant.admin
        ]
        owner, id_ = known[pick % len(known)]
        reply = self.ask(tenant, "DELETE /api/keys/{id}", f"/api/keys/{id_}")
        if owner is not tenant:
            assert reply.status == 404
            return
        assert reply.status == 204
        key = tenant.keys.pop(id_)
        assert self.ask(tenant, "GET /api/tasks", "/api/tasks", key=key).status == 401

    # --- other events
    # --------------------------------------------------------------------------------------------------

    @rule(pick=picks, how=st.sampled_from(["begin", "complete", "fail"]))
    def work(self, pick: int, how: str) -> None:
        owner, id_ = self.pick(pick)
        if owner == "nobody":
            return
        tenant, model, key = self.tenants[owner], self.tenants[owner].tasks[id_], task_key_of(owner, id_)
        claim = self.bench.run(
            self.bench.store.claim(key, holder=f"worker {id_}", host="", route=Route.QUEUE, lease_ms=180_000)
        )
        is_late = model.deadline_at is not None and model.deadline_at <= self.now
        assert isinstance(claim, Claim) == (model.open and not is_late)
        if not isinstance(claim, Claim):
            return
        assert claim.window.chunks == range(model.done, model.total)
        assert model.body["input"].endswith(claim.window.text)
        model.done = model.total if how == "complete" else max(model.done, model.total - 1)
        retention_ms = self.bench.settings.retention_ms
        steps: dict[str, Next] = {
            "begin": Continue(180_000),
            "complete": Finish(retention_ms),
            "fail": Fail(retention_ms, FAILURE),
        }
        self.bench.work(claim, dict.fromkeys(range(model.done), tenant.canary), steps[how])
        model.status = "processing"
        if how != "begin":
            failed = how == "fail"
            model.end("failed" if failed else "completed", self.now, FAILURE.code if failed else None)

    @rule(seconds=st.sampled_from([0.001, 0.5, 5, 100, 700, 40_000, 90_000]))
    def time_passes(self, seconds: float) -> None:
        self.bench.run(asyncio.sleep(seconds))

    @rule()
    def sweep(self) -> None:
        api, now = self.bench.api, self.now
        while not self.bench.run(self.bench.store.due(1)).empty:
            worker = new_worker(self.bench.database, provider=api.provider, settings=api.settings, log=api.log)
            self.bench.run(new_sweep(worker, self.bench.senders[:1]).run())
        for tenant in self.tenants.values():
            for model in list(tenant.tasks.values()):
                if not model.open and model.ended_ms + api.settings.retention_ms <= now:
                    tenant.forget(model.id)
                else:
                    model.look(now)

    @invariant()
    def the_rows_are_the_models(self) -> None:
        stored: dict[str, dict[str, object]] = {name: {} for name in TENANTS}
        for row in self.bench.database.rows("SELECT id, tenant, status FROM tasks"):
            owner, id_ = split_task_key(row["id"])
            assert row["tenant"] == owner
            stored[owner][id_] = row["status"]
        for name, tenant in self.tenants.items():
            assert stored[name] == {id_: task.status for id_, task in tenant.tasks.items()}
        parts = " UNION ".join(
            f"SELECT task_id FROM {table}"  # noqa: S608 - constants
            for table in ("texts", "segments", "submissions")
        )
        kept = {str(row["task_id"]) for row in self.bench.database.rows(parts)}
        assert kept == {task_key_of(name, id_) for name, tenant in self.tenants.items() for id_ in tenant.tasks}
        texts = json.dumps([text for text, _ in stored_outputs(self.bench.database).values()])
        for tenant in self.tenants.values():
            assert tenant.canary in texts or not any(task.done for task in tenant.tasks.values())


TestTwoTenants = TwoTenants.TestCase
EXAMPLES, STEPS = sized(quick=(20, 60), test=(60, 60), campaign=(2_000, 120))
TestTwoTenants.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)

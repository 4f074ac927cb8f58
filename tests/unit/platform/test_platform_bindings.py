"""The bindings of Queues and Durable Objects between JavaScript and Python. JavaScript is a fake."""

import asyncio
import json
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.ids import TaskKey
from src.platform.bindings import bindings
from src.platform.objects import answered, storage_of
from src.platform.queues import delivered
from src.queue import messages
from tests.support.javascript import JsError, stand_in

TASK = TaskKey("local:01999999-0000-7000-8000-000000000000")
NULL = SimpleNamespace(json="null")  # JavaScript's


class JsValue:
    """A JavaScript object or list."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __getattr__(self, name: str) -> object:
        value = vars(self)["value"]
        if isinstance(value, dict) and name in value:
            return value[name]
        raise AttributeError(name)


def _parse(text: str) -> object:
    value = json.loads(text)
    return NULL if value is None else JsValue(value)


def _stringify(value: object) -> str | None:
    if value is None:  # undefined
        return None
    if value is NULL:
        return "null"
    return json.dumps(value.value if isinstance(value, JsValue) else value)


@pytest.fixture(autouse=True)
def javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"JSON": SimpleNamespace(stringify=_stringify, parse=_parse)})


def wrapped(binding: object) -> Any:
    return SimpleNamespace(_binding=binding)


def bound(**env: object) -> Any:
    wrapper: Any = SimpleNamespace(_env=SimpleNamespace(**{"DB": object()} | env))
    return bindings(wrapper)


def test_a_deployment_without_its_database_says_so() -> None:
    """Without the binding DB every request is answered with what must be put into wrangler.toml."""
    without: Any = SimpleNamespace(_env=SimpleNamespace())
    with pytest.raises(ConfigurationError, match=r"^DB must be a binding to a D1 database, and is missing"):
        bindings(without)


def wait(awaitable: Awaitable[Any]) -> Any:
    async def play() -> Any:
        return await awaitable

    return asyncio.run(play())


def test_a_message_is_sent_as_javascript_has_it():
    sent: list[Any] = []

    async def send(*values: JsValue) -> None:
        sent.extend(value.value for value in values)

    queue = bound(AI_QUEUE=SimpleNamespace(send=send)).queue
    wait(queue.send(messages.write(TASK), {"delaySeconds": 3}))
    assert sent == [{"taskId": TASK}, {"delaySeconds": 3}]


def test_a_delivery_is_read_once_and_answered():
    ends: list[object] = []
    message = SimpleNamespace(
        id="m",
        attempts=2,
        body=JsValue({"taskId": TASK}),
        ack=lambda: ends.append("ack"),
        retry=lambda options: ends.append(options.value),
    )
    batch = delivered(wrapped(SimpleNamespace(queue=messages.QUEUE, messages=[message])))
    (read,) = batch.messages
    assert (batch.queue, read.id, read.attempts, messages.read(read.body)) == (messages.QUEUE, "m", 2, TASK)
    read.ack()
    read.retry({"delaySeconds": 5})
    assert ends == ["ack", {"delaySeconds": 5}]


@pytest.mark.parametrize(
    "body",
    [
        None,
        NULL,
        "a text",
        7,
        JsValue([]),
        JsValue({"taskId": 7}),
        JsValue({}),
        JsValue(JsError("a BigInt has no JSON")),
    ],
)
def test_a_hostile_message_is_none_of_ours(body: object):
    message = SimpleNamespace(id="m", attempts=1, body=body)
    (read,) = delivered(wrapped(SimpleNamespace(queue=messages.QUEUE, messages=[message]))).messages
    assert messages.read(read.body) is None


class JsObject:
    """A Durable Object at the other end of RPC, which answers with the arguments of the call."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getByName(self, name: str) -> "JsObject":  # noqa: N802 - the platform's name
        self.names.append(name)
        return self

    async def infer(self, *values: object) -> object:
        return values[-1]

    async def refuse(self) -> None:
        raise JsError("no such method")


@pytest.mark.parametrize("value", ["a text", 7, 0.5, True, None, [{"output": None}], {"a": ["b"]}])
def test_a_call_of_an_object_takes_and_gives_plain_values(value: object):
    js = JsObject()
    stub = bound(AI_PROCESSOR=js).processors.getByName(TASK)
    assert wait(stub.infer(TASK, 1, value)) == value
    assert js.names == [TASK]


def test_an_answer_crosses_as_one_text():
    """An object's answer crosses to Python as one text, since the SDK would convert it value by value."""
    outcomes = [{"output": "x", "lane": None}]
    env: Any = SimpleNamespace(_env=object())
    crossed: Any = answered(env, outcomes)
    assert crossed.value == outcomes
    assert answered(SimpleNamespace(), outcomes) is outcomes


class JsStorage:
    """A Durable Object's storage, in which a write is done when its method returns."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.statements: list[object] = []
        self.sql = self

    def put(self, key: str, value: object) -> Awaitable[None]:
        self.values[key] = value
        return asyncio.sleep(0)

    def setAlarm(self, at_ms: int) -> Awaitable[None]:  # noqa: N802 - the platform's name
        return self.put("alarm", at_ms)

    def deleteAll(self) -> Awaitable[None]:  # noqa: N802 - the platform's name
        self.values.clear()
        return asyncio.sleep(0)

    async def get(self, key: str) -> object:
        return self.values.get(key)

    def exec(self, *statement: object) -> SimpleNamespace:
        self.statements.append(statement)
        return SimpleNamespace(toArray=lambda: JsValue([{"lane": 1}, {"lane": 2}]))


def test_writes_with_no_await_between_them_are_under_way_together():
    """The platform commits them together, so a storage method awaits nothing before its write."""
    js = JsStorage()
    storage = storage_of(SimpleNamespace(storage=wrapped(js)))

    async def play() -> None:
        armed = storage.setAlarm(5)
        put = storage.put("task", TASK)
        assert js.values == {"alarm": 5, "task": TASK}
        await armed
        await put
        assert (await storage.get("task"), await storage.get("other")) == (TASK, None)
        cleared = storage.deleteAll()
        assert js.values == {}
        await cleared

    asyncio.run(play())


def test_rows_of_an_objects_own_database_come_over_together():
    js = JsStorage()
    rows = storage_of(SimpleNamespace(storage=wrapped(js))).sql.exec("SELECT lane FROM out WHERE lane < ?", 3).toArray()
    assert rows == [{"lane": 1}, {"lane": 2}]
    assert js.statements == [("SELECT lane FROM out WHERE lane < ?", 3)]

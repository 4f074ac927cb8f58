"""Cases about Durable Objects as callers see them: calls, values, errors, names, interleaving and alarms."""

import asyncio
import json
from typing import Any

from tests.conformance.cases import storage
from tests.conformance.cases.registry import OBJECT_CASES, attempt, describe, show, worker_case


def _stub(env: Any, name: str) -> Any:
    return env.AI_PROCESSOR.getByName(name)


@worker_case
async def arguments_and_results_are_copies(env: Any) -> Any:
    stub = _stub(env, "copies")
    nested: tuple[Any, ...] = ([], {}, [1, [None, {"a": None}]], {"a": {"b": [1.0]}})
    values = (None, True, 5, 5.0, 2.5, "é😀", *nested, 2**53 - 1)
    return [await attempt(stub.echo(value)) for value in values]


@worker_case
async def results_of_each_kind(env: Any) -> Any:
    stub = _stub(env, "gives")
    return [await attempt(stub.give(kind)) for kind in ("none", "nested", "text")]


@worker_case
async def a_method_that_is_not_there(env: Any) -> Any:
    return describe_kind(await attempt(_stub(env, "missing").nothing_like_it()))


def describe_kind(seen: Any) -> Any:
    return seen["raised"]["kind"] if "raised" in seen else seen


@worker_case
async def exceptions_of_an_object_reach_its_caller(env: Any) -> Any:
    stub = _stub(env, "fails")
    seen = []
    for kind, named in {"value": "ValueError", "key": "KeyError", "runtime": "RuntimeError", "own": "Refused"}.items():
        text = ""
        try:
            await stub.fail(kind)
        except Exception as error:  # noqa: BLE001 - which it is, is the result
            raised, text = describe(error), str(error)
        seen.append([raised["kind"], ("refused it" if kind == "own" else "no such thing") in text, named in text])
    return [seen, await attempt(stub.note("still there"))]


@worker_case
async def one_instance_a_name(env: Any) -> Any:
    await _stub(env, "same").note("one")
    other = await _stub(env, "other").note("alone")
    by_id = env.AI_PROCESSOR.get(env.AI_PROCESSOR.idFromName("same"))
    return [await attempt(by_id.note("two")), show(other)]


@worker_case
async def ids_belong_to_names(env: Any) -> Any:
    namespace = env.AI_PROCESSOR
    one, again, other = (namespace.idFromName(name).toString() for name in ("a", "a", "b"))
    return [one == again, one == other, len(one), namespace.idFromString(one).toString() == one]


@worker_case
async def other_calls_come_in_at_an_await_that_is_not_storage(env: Any) -> Any:
    stub = _stub(env, "interleaved")
    slow = asyncio.ensure_future(stub.slow("a"))
    await asyncio.sleep(0.03)
    await stub.note("b")
    return await attempt(slow)


@worker_case
async def events_between_a_read_and_its_caller(env: Any) -> Any:
    return await _events_meanwhile(env, "get")


@worker_case
async def events_between_a_write_and_its_caller(env: Any) -> Any:
    return await _events_meanwhile(env, "put")


async def _events_meanwhile(env: Any, operation: str) -> Any:
    stub = _stub(env, f"events {operation}")
    watching = asyncio.ensure_future(stub.watch(operation))

    async def events() -> None:
        while not watching.done():
            await asyncio.gather(*(stub.event() for _ in range(5)))
            await asyncio.sleep(0.007)  # without this pause, the object's timers would never run

    await asyncio.gather(*(events() for _ in range(3)))
    between, meanwhile = await watching
    return {"between": between, "meanwhile": meanwhile}


@worker_case
async def an_exception_does_not_undo_writes(env: Any) -> Any:
    stub = _stub(env, "writes then fails")
    error = await attempt(stub.put_then_fail())
    return [describe_kind(error), await attempt(stub.read())]


@worker_case
async def an_abort_undoes_what_was_not_committed(env: Any) -> Any:
    error = await attempt(_stub(env, "aborts").put_then_abort())
    return [describe_kind(error), await attempt(_stub(env, "aborts").read())]


# For each case about alarms: when the object sets its alarm, what it does at each run, how many rings come, and for how
# many seconds no other may come.
ALARMS: dict[str, tuple[list[int], list[str], int, float]] = {
    "an_alarm_rings_once_and_is_gone_while_it_runs": ([100], [], 1, 0.3),
    "an_alarm_in_the_past_rings_at_once": ([-10_000], [], 1, 0.3),
    "only_the_last_alarm_rings": ([60_000, 100, 150], [], 1, 0.3),
    "an_alarm_may_set_itself_again": ([20], ["rearm", "rearm", "ok"], 3, 0.3),
    "an_alarm_that_raises_rings_again": ([20], ["raise", "ok"], 2, 0.3),
    "an_alarm_that_sets_itself_and_raises": ([20], ["rearm and raise", "ok"], 2, 3),
}


def _of_an_alarm(name: str, delays: list[int], acts: list[str], count: int, quiet_seconds: float) -> None:
    async def case(env: Any) -> Any:
        stub = _stub(env, name)
        await stub.ring(delays, acts)
        for _ in range(400):
            if len(await stub.rings()) >= count:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(quiet_seconds)
        return await attempt(stub.rings())

    case.__name__ = name
    worker_case(case)


for alarm_case, facts in ALARMS.items():
    _of_an_alarm(alarm_case, *facts)


def _in_an_object(name: str) -> None:
    async def case(env: Any) -> Any:
        return json.loads(await _stub(env, f"case {name}").run(name))

    case.__name__ = f"storage_{name}"
    worker_case(case)


assert storage  # the import of this module has registered its cases
for storage_case in OBJECT_CASES:
    _in_an_object(storage_case)

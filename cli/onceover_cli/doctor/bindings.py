"""Compares the queues and objects of an environment in wrangler.toml with the names that the Worker reads."""

from collections.abc import Iterator
from typing import Any, Final

from .findings import Check, fault, ok

_QUEUES: Final = {"AI_QUEUE": "ai-processing-queue", "AI_DLQ": "ai-processing-dlq"}
_CONSUMER: Final = {
    "max_batch_size": 1,
    "max_batch_timeout": 30,
    "max_retries": 2,
    "dead_letter_queue": _QUEUES["AI_DLQ"],
}
_OBJECTS: Final = {"AI_PROCESSOR": "AIProcessor", "BATCH_COORDINATOR": "BatchCoordinator"}
# The environments of wrangler.toml that need no queues, and those that need no objects. An environment with any other
# name needs queues and objects.
_WITHOUT_QUEUES: Final = frozenset({"free", "direct"})
_WITHOUT_OBJECTS: Final = frozenset({"direct"})


def bindings(own: dict[str, Any], name: str, where: str) -> Iterator[Check]:
    """Check the queues and the objects that an environment of wrangler.toml binds."""
    queues = list(_queues(own.get("queues", {}), where, is_wanted=name not in _WITHOUT_QUEUES))
    yield from queues or [ok("queues", f"{where}: as the Worker needs them")]
    objects = list(_objects(own, where, is_wanted=name not in _WITHOUT_OBJECTS))
    yield from objects or [ok("objects", f"{where}: as the Worker needs them")]


def _queues(queues: dict[str, Any], where: str, *, is_wanted: bool) -> Iterator[Check]:
    producers = {one.get("binding"): one.get("queue") for one in queues.get("producers", [])}
    if not is_wanted and not producers and not queues.get("consumers"):
        return
    for binding, queue in _QUEUES.items():
        block = f'[[queues.producers]] binding = "{binding}", queue = "{queue}"'
        if binding not in producers:
            yield fault(
                "queues", f"{where}: {binding} binding is missing", f"{block}; npx wrangler queues create {queue}"
            )
        elif producers[binding] != queue:
            yield fault("queues", f"{where}: {binding} leads to {producers[binding]}, not to {queue}", block)
    consumers = {one.get("queue"): one for one in queues.get("consumers", [])}
    consumer = consumers.get(_QUEUES["AI_QUEUE"])
    if consumer is None:
        fix = f'[[queues.consumers]] queue = "{_QUEUES["AI_QUEUE"]}", max_batch_size = 1, max_retries = 2'
        yield fault("queues", f"{where}: {_QUEUES['AI_QUEUE']} has no consumer", fix)
        return
    for setting, value in _CONSUMER.items():
        if consumer.get(setting) != value:
            text = f"{where}: the consumer's {setting} is {consumer.get(setting)!r}, not {value!r}"
            yield fault("queues", text, f"{setting} = {value!r}".replace("'", '"'))
    if _QUEUES["AI_DLQ"] not in consumers:
        text = f"{where}: {_QUEUES['AI_DLQ']} has no consumer, so tasks with dead letters do not fail"
        yield fault("queues", text, f'[[queues.consumers]] queue = "{_QUEUES["AI_DLQ"]}"')


def _objects(own: dict[str, Any], where: str, *, is_wanted: bool) -> Iterator[Check]:
    bound = {one.get("name"): one.get("class_name") for one in own.get("durable_objects", {}).get("bindings", [])}
    if not is_wanted and not bound:
        return
    for binding, class_name in _OBJECTS.items():
        block = f'[[durable_objects.bindings]] name = "{binding}", class_name = "{class_name}"'
        if binding not in bound:
            yield fault("objects", f"{where}: {binding} binding is missing", block)
        elif bound[binding] != class_name:
            yield fault("objects", f"{where}: {binding} is of the class {bound[binding]}, not {class_name}", block)
    # An environment without `migrations` of its own inherits those of the top level.
    steps = own.get("migrations", [])
    if any("new_classes" in step for step in steps):
        text = f"{where}: new_classes cannot be deployed on the free plan, and these objects need SQLite"
        yield fault("objects", text, 'new_sqlite_classes = ["AIProcessor", "BatchCoordinator"]')
    elif "migrations" in own and bound and not _declared(steps) >= set(_OBJECTS.values()):
        text = f"{where}: [[migrations]] does not declare the objects' classes"
        yield fault(
            "objects", text, '[[migrations]] tag = "v1", new_sqlite_classes = ["AIProcessor", "BatchCoordinator"]'
        )


def _declared(steps: list[dict[str, Any]]) -> set[str]:
    return {name for step in steps for name in step.get("new_sqlite_classes", [])}

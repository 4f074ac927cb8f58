"""A model that errs by seed, in place of a real one: it needs no runtime, and its errors are known.

It overlooks some loans and quotes some wrongly. It reads what a message says and no more: a person that the message
does not name is "unknown" to it, and of a loan that stands only in the context it says nothing.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

from bench.planted import Fact, Planted
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.ids import task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, data

MISSED: Final = 0.2
MISQUOTED: Final = 0.1
NAME: Final = "a model that errs by seed"


class Erring:
    """The model, once it was told the facts of a text."""

    name = "demo"
    default_model = "erring-1"

    def __init__(self) -> None:
        self.calls = 0
        self._facts: list[tuple[Fact, str]] = []

    def learn(self, made: Planted) -> None:
        """Learn the facts of a text, each with its sentence."""
        self._facts = [(fact, made.text[fact.start : fact.end]) for fact in made.facts]

    async def infer(self, call: ModelCall) -> ModelReply:
        """List the loans of a chunk."""
        self.calls += 1
        chunk = call.user.rpartition(" text]]\n")[2]
        there = [(fact, sentence) for fact, sentence in self._facts if sentence in chunk]
        loans = [_loan(fact, sentence, call.user) for fact, sentence in there if not _errs("sees", fact, MISSED)]
        return ModelReply(json.dumps({"loans": loans}, ensure_ascii=False), 10, 1, "stop")

    async def probe(self) -> Health:
        """Always be well."""
        return Health("healthy", "")


def _errs(how: str, fact: Fact, share: float) -> bool:
    return Random(f"{how} {fact.amount}").random() < share  # noqa: S311


def _loan(fact: Fact, sentence: str, message: str) -> dict[str, Any]:
    person = fact.person if fact.person in message else "unknown"
    quote = f"He lent {fact.amount} and more." if _errs("quotes", fact, MISQUOTED) else f" {sentence} "
    return {"person": person, "date": fact.date, "amount": fact.amount, "quote": quote}


@contextmanager
def asking(model: Erring) -> Iterator[Callable[[Planted, dict[str, Any]], dict[str, Any]]]:
    """Yield what asks onceover, with this model."""
    bench = ApiBench(settings=Settings(provider="demo"), provider=model)

    def ask(made: Planted, body: dict[str, Any]) -> dict[str, Any]:
        model.learn(made)
        task: dict[str, Any] = data(bench.call("POST", "/api/tasks", body))
        key, path = task_key_of("local", task["id"]), f"/api/tasks/{task['id']}"
        while not task["terminal"]:
            bench.run(replace(bench.worker, meter=Meter()).run(key, Host(Route.QUEUE, 600.0)))
            task = data(bench.call("GET", path))
        return task

    try:
        yield ask
    finally:
        bench.close()

"""`bench.quality` measures what a task finds of a planted text, here with a model that errs by seed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench import quality
from bench.planted import Fact, Score, plant, share, shares
from bench.quality import Kept, Part, measure
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.ids import task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, data
from tests.support.dev_server import ROOT

CHARS, FACTS = 20_000, 40
MISSED, MISQUOTED = 0.2, 0.1


class Erring:
    """A model that overlooks some loans and quotes some wrongly. It knows a person that the message names."""

    name = "demo"
    default_model = "erring-1"

    def __init__(self) -> None:
        self.calls = 0

    async def infer(self, call: ModelCall) -> ModelReply:
        self.calls += 1
        chunk = call.user.rpartition(" text]]\n")[2]
        loans = [
            self.loan(fact, sentence, call.user)
            for fact, sentence in self.known
            if sentence in chunk and self.sees(fact)
        ]
        return ModelReply(json.dumps({"loans": loans}, ensure_ascii=False), 10, 1, "stop")

    def reads(self, language: str, seed: int) -> None:
        made = plant(language, CHARS, FACTS, seed)
        self.known = [(fact, made.text[fact.start : fact.end]) for fact in made.facts]

    @staticmethod
    def sees(fact: Fact) -> bool:
        return Random(f"sees {fact.amount}").random() >= MISSED

    @staticmethod
    def loan(fact: Fact, sentence: str, message: str) -> dict[str, Any]:
        person = fact.person if fact.person in message else "unknown"
        lies = Random(f"lies {fact.amount}").random() < MISQUOTED
        quote = f"He lent {fact.amount} and more." if lies else f" {sentence} "
        return {"person": person, "date": fact.date, "amount": fact.amount, "quote": quote}

    async def probe(self) -> Health:
        return Health("healthy", "")


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench(settings=Settings(provider="demo"), provider=Erring())
    yield made
    made.close()


def figures(bench: ApiBench, folder: Path, language: str, setting: str, seeds: range) -> list[Score]:
    model = bench.api.provider
    assert isinstance(model, Erring)

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        name = bench.submit(**{"text": body["input"], **{key: body[key] for key in body if key != "input"}})["id"]
        for _ in range(40):
            bench.run(replace(bench.worker, meter=Meter()).run(task_key_of("local", name), Host(Route.QUEUE, 600.0)))
            task: dict[str, Any] = data(bench.call("GET", f"/api/tasks/{name}"))
            if task["terminal"]:
                return task
        raise AssertionError(task)

    scores = []
    for seed in seeds:
        model.reads(language, seed)
        part = Part(language, CHARS, FACTS, seed, setting)
        scores.append(measure(ask, part, Kept(folder / "kept.jsonl", "erring")))
    return scores


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_context_finds_what_overlap_finds_and_nothing_twice(bench: ApiBench, tmp_path: Path, language: str) -> None:
    """The figures are those of the model's errors, also in a repetition with other texts."""
    alone, context, overlap = (
        shares(figures(bench, tmp_path, language, setting, range(3)))
        for setting in ("900:0:0", "900:300:0", "900:0:300")
    )
    assert context["recall"] is not None
    assert alone["recall"] is not None
    assert overlap["repeats"] is not None
    assert context["recall"][0] > alone["recall"][0]
    assert context["repeats"] == alone["repeats"] == (0, 0, 0)
    assert overlap["repeats"][0] > 0
    for one in (alone, context, overlap):
        placed = one["quotes in the text"]
        assert placed is not None
        assert placed[1] <= 1 - MISQUOTED <= placed[2]
    again = shares(figures(bench, tmp_path, language, "900:300:0", range(3, 6)))
    assert again["recall"] is not None
    assert max(again["recall"][1], context["recall"][1]) <= 1 - MISSED <= min(again["recall"][2], context["recall"][2])


def test_a_measurement_that_was_stopped_goes_on(bench: ApiBench, tmp_path: Path) -> None:
    first = figures(bench, tmp_path, "english", "whole", range(1))
    model = bench.api.provider
    assert isinstance(model, Erring)
    assert model.calls == 1
    assert figures(bench, tmp_path, "english", "whole", range(2))[:1] == first
    assert model.calls == 2


def test_a_planted_text_follows_from_its_seed() -> None:
    made = plant("chinese", CHARS, FACTS, 1)
    assert made == plant("chinese", CHARS, FACTS, 1) != plant("chinese", CHARS, FACTS, 2)
    assert CHARS <= len(made.text) < 1.3 * CHARS
    assert len(made.facts) == FACTS + FACTS // 4 == FACTS + len(made.contradictions)
    assert all(str(fact.amount) in made.text[fact.start : fact.end] for fact in made.facts)


def test_an_interval_holds_its_share() -> None:
    assert share([]) is None
    assert share([True] * 9) == (1, 1, 1)
    found = share([True, False] * 50)
    assert found is not None
    assert found == pytest.approx((0.5, 0.4, 0.6), abs=0.03)


def test_the_page_has_the_table_of_the_bench() -> None:
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    assert f"| {' | '.join(quality.HEAD)} |" in page

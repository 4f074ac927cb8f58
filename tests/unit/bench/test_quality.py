"""`bench.quality` measures what a task finds of a planted text, here with a model that errs by seed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import quality
from bench.erring import MISQUOTED, MISSED, Erring, asking
from bench.planted import Score, plant, share, shares
from bench.quality import Kept, Part, measure
from tests.support.dev_server import ROOT

CHARS, FACTS = 20_000, 40


@pytest.fixture
def model() -> Erring:
    return Erring()


@pytest.fixture
def ask(model: Erring) -> Iterator[quality.Ask]:
    with asking(model) as asked:
        yield asked


def figures(ask: quality.Ask, folder: Path, language: str, setting: str, seeds: range) -> list[Score]:
    kept = Kept(folder / "kept.jsonl", "erring")
    return [measure(ask, Part(language, CHARS, FACTS, seed, setting), kept) for seed in seeds]


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_context_finds_what_overlap_finds_and_nothing_twice(ask: quality.Ask, tmp_path: Path, language: str) -> None:
    """The figures are those of the model's errors, also in a repetition with other texts."""
    alone, context, overlap = (
        shares(figures(ask, tmp_path, language, setting, range(3))) for setting in ("900:0:0", "900:300:0", "900:0:300")
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
    again = shares(figures(ask, tmp_path, language, "900:300:0", range(3, 6)))
    assert again["recall"] is not None
    assert max(again["recall"][1], context["recall"][1]) <= 1 - MISSED <= min(again["recall"][2], context["recall"][2])


def test_a_measurement_that_was_stopped_goes_on(model: Erring, ask: quality.Ask, tmp_path: Path) -> None:
    first = figures(ask, tmp_path, "english", "whole", range(1))
    assert model.calls == 1
    assert figures(ask, tmp_path, "english", "whole", range(2))[:1] == first
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

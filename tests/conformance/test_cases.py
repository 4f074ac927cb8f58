"""Tests the suite of cases: its size, the statements that it runs, and whether its cases can fail."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mutation.catalogue import statement_files
from simulator.platform.sqlite_database import Template
from tests.conformance import worker
from tests.conformance.cases.registry import WORKER_CASES
from tests.conformance.cases.storyteller import STATEMENT_MODULES, statement_names
from tests.conformance.project import ROOT, make_template, run_on_fakes

PIECES = {"src/kernel/store/fragments.py"}  # modules without whole statements
GATES = [f"events_between_a_{operation}_and_its_caller" for operation in ("read", "write")]


@pytest.fixture(scope="module")
def template() -> Template:
    return make_template()


def test_the_stories_run_every_statement_of_the_store(template: Template):
    names = set(statement_names().values())
    assert {"CLAIM", "OUTCOME", "LIST_FILTERED", "FIND_KEY", "ERASE[0]", "WITHDRAW_PARTS[3]"} <= names
    ran: set[str] = set()
    for name, case in WORKER_CASES.items():
        if case.__module__ in {module.__name__ for module in worker.STORIES}:
            ran |= set(_strings(json.loads(run_on_fakes(name, template))))
    assert names <= ran, names - ran


def test_statements_stand_in_the_modules_that_the_stories_know():
    known = {Path(str(module.__file__)).relative_to(ROOT).as_posix() for module in STATEMENT_MODULES}
    assert known == set(statement_files(ROOT)) - PIECES


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@pytest.mark.parametrize("name", GATES)
def test_the_cases_about_gates_can_tell(name: str, template: Template):
    """Without strict gates, the cases about gates see an event between a storage operation and its caller."""
    seeds = range(8)

    def between(*, strict: bool) -> list[bool]:
        runs = [run_on_fakes(name, template, seed=seed, strict_gates=strict, scheduling="random") for seed in seeds]
        return [json.loads(run)["between"] for run in runs]

    assert any(between(strict=False))
    assert not any(between(strict=True))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in (1, 2))])
def test_the_cases_do_not_depend_on_the_schedule(seed: int, template: Template):
    for name in WORKER_CASES:
        assert run_on_fakes(name, template, seed=seed, scheduling="random") == run_on_fakes(name, template), name


def test_cases_know_of_neither_side():
    for path in Path(worker.__file__).parent.joinpath("cases").glob("*.py"):
        roots = re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        assert all(re.match(r"src\.|tests\.conformance\.cases|\w+(\.abc)?$", root) for root in roots), (path, roots)

"""What features register, the statements of the Worker, and the documented codes of tasks and problems."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.features import FEATURES
from src.features.batches.work.validation import MISSING
from src.features.cost.gate import spent
from src.features.structured import forms
from src.features.texts import file_text
from src.kernel.api.base import problems
from src.kernel.domain import errors
from src.kernel.domain.codes import TASK_CODES, TaskCode
from src.kernel.domain.task import Failure
from src.kernel.feature import PathGroup
from src.kernel.run.context import crashed
from src.kernel.run.waits import OVERDUE, exhausted
from src.kernel.store.d1 import Statement
from src.queue import dead_letter
from tests.conformance.cases.storyteller import STATEMENT_MODULES, statement_names

MODULES = sorted((Path(__file__).resolve().parents[3] / "src" / "features").glob("*/feature.py"))


@pytest.mark.parametrize("group", CATALOGUE.groups, ids=lambda group: group.paths[0])
def test_a_group_has_the_calls_of_its_paths(group: PathGroup) -> None:
    assert {endpoint.path for endpoint in group.load()} == set(group.paths)


def test_groups_have_an_order_and_each_path_is_in_one() -> None:
    paths = [path for group in CATALOGUE.groups for path in group.paths]
    assert len(set(paths)) == len(paths)
    assert len({group.rank for group in CATALOGUE.groups}) == len(CATALOGUE.groups)


def test_each_feature_is_registered_once() -> None:
    assert sorted(feature.name for feature in FEATURES) == [module.parent.name for module in MODULES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.parent.name)
def test_registering_imports_no_code_of_the_feature(module: Path) -> None:
    """At its top, a `feature.py` imports only `Feature` and `Kind`, so it costs an isolate's start nothing more."""
    top = [node.module or "" for node in ast.parse(module.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert {name for name in top if name not in {"collections.abc", "typing", "kernel.domain.task"}} == {
        "kernel.feature"
    }


PARAMETERS_MOST = 100  # D1's limit for one statement


def _all() -> Iterator[Statement]:
    for module in STATEMENT_MODULES:
        for value in vars(module).values():
            yield from (one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, Statement))


def test_each_statement_keeps_to_the_limits_of_d1():
    made = list(_all())
    assert len(made) > 60
    assert max(len(one.parameters) for one in made) <= PARAMETERS_MOST
    assert max(len(one.sql.encode()) for one in made) <= 100_000


def test_no_two_subjects_have_statements_of_one_name():
    assert len(statement_names()) > 60  # which asserts it


API = Path(__file__).resolve().parents[3] / "docs" / "api.md"

# `CallNotStarted` becomes no failure, since the call is announced again; `ModelError` is only the base class.
NEVER_SHOWN: list[type[errors.ModelError]] = [errors.ModelError, errors.CallNotStarted]


def kinds_of(base: type[errors.ModelError]) -> set[type[errors.ModelError]]:
    found = {base}
    for kind in base.__subclasses__():
        found |= kinds_of(kind)
    return found


def code_of(kind: type[errors.ModelError]) -> str:
    return kind.code


def test_each_failure_of_a_call_has_a_task_code() -> None:
    kinds = {kind for kind in kinds_of(errors.ModelError) if kind.__module__ == errors.__name__} - set(NEVER_SHOWN)
    assert {Failure.of(kind.code, "", kind.retryable).code for kind in kinds} <= set(TaskCode)


@pytest.mark.parametrize("kind", NEVER_SHOWN, ids=code_of)
def test_no_other_code_becomes_a_failure(kind: type[errors.ModelError]) -> None:
    with pytest.raises(ValueError, match=kind.code):
        Failure.of(kind.code, "", kind.retryable)


def test_each_task_code_is_one_that_comes_about() -> None:
    of_calls = set(map(code_of, kinds_of(errors.ModelError) - set(NEVER_SHOWN)))
    of_tasks = {failure.code for failure in (crashed(3), OVERDUE, exhausted(3), dead_letter.FAILURE)}
    of_tasks |= {MISSING.code, file_text.MISSING.code, file_text.invalid("").code}
    of_tasks.add(spent(1, 2).code)
    assert of_calls | of_tasks | forms.CODES | {TaskCode.TOO_MANY_GAPS} == set(TaskCode) == set(TASK_CODES)


def test_each_problem_code_has_one_kind() -> None:
    assert len({kind.code for kind in problems.KINDS}) == len(problems.KINDS)


@pytest.mark.parametrize(
    ("name", "codes"), [("TaskCode", list(TaskCode)), ("ProblemCode", [kind.code for kind in problems.KINDS])]
)
def test_both_lists_are_documented(name: str, codes: list[str]) -> None:
    described: Any = CATALOGUE.document
    schema = described["components"]["schemas"][name]
    assert schema["enum"] == codes
    assert list(schema["x-enumDescriptions"]) == codes
    page = API.read_text("utf-8").partition(f"### {name}\n")[2].partition("\n### ")[0]
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == codes


def test_views_show_nothing_but_codes_of_the_lists() -> None:
    described: Any = CATALOGUE.document
    schemas = described["components"]["schemas"]
    assert schemas["FailureView"]["properties"]["code"]["$ref"].endswith("/TaskCode")
    assert schemas["LastErrorView"]["properties"]["code"]["$ref"].endswith("/TaskCode")
    assert schemas["ProblemView"]["properties"]["code"]["$ref"].endswith("/ProblemCode")

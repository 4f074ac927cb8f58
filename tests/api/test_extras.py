"""Extra fields of a submission: what a feature needs to let clients give a task a text, and list tasks by it."""

from typing import Annotated, ClassVar

import pytest
from pydantic import ConfigDict, Field

from src.composition import CATALOGUE
from src.features.openai import fields as of_responses
from src.kernel.api.base.fields import NO_NUL, Asked
from src.kernel.api.router import Catalogue
from src.kernel.api.tasks.submission import TaskFields
from src.kernel.domain import limits
from src.kernel.domain.task import OPTION_TEXTS
from tests.api.test_kernel_alone import KernelBench


class LabelField(Asked):
    """The field of a small feature."""

    are_extra: ClassVar = True

    label: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra=NO_NUL)] | None = None


class Labelled(TaskFields, LabelField):
    """A body with this feature."""

    model_config = ConfigDict(defer_build=False)


class LabelBench(KernelBench):
    """An API of the kernel with this feature."""

    catalogue = Catalogue(body=Labelled)


@pytest.fixture
def bench() -> LabelBench:
    return LabelBench()


def ids(bench: LabelBench, query: str) -> list[str]:
    status, page = bench.ask("GET", f"/api/tasks?{query}")
    assert status == 200, page
    return [one["id"] for one in page["tasks"]]


def test_it_is_kept_shown_and_found(bench: LabelBench) -> None:
    one, two, bare = (
        bench.ask("POST", "/api/tasks", {"input": "text"} | given)[1]
        for given in ({"label": "漢"}, {"label": "b"}, {"label": None})
    )
    assert [task.get("label") for task in (one, two, bare)] == ["漢", "b", None]
    assert bench.ask("GET", one["links"]["self"])[1]["label"] == "漢"
    assert ids(bench, "label=%E6%BC%A2") == ids(bench, "label=%E6%BC%A2&status=pending") == [one["id"]]
    assert ids(bench, "label=c") == ids(bench, "label=b&status=failed") == []
    assert ids(bench, "") == ids(bench, "label=") == [bare["id"], two["id"], one["id"]]
    counts = bench.ask("GET", "/api/tasks?label=b&counts=true")[1]["counts"]
    assert (counts["pending"], counts["among"]) == (1, 3)


def test_a_wrong_one_is_refused(bench: LabelBench) -> None:
    for given in ("", "x" * 101, 1, "a\0"):
        assert bench.ask("POST", "/api/tasks", {"input": "text", "label": given})[0] == 422
    assert bench.ask("GET", f"/api/tasks?label={'x' * (limits.EXTRA_CHARS_MOST + 1)}")[0] == 422
    assert bench.ask("GET", "/api/tasks?colour=red")[0] == 422


def test_it_is_described(bench: LabelBench) -> None:
    described = bench.ask("GET", "/openapi.json")[1]
    schemas = described["components"]["schemas"]
    assert "label" in schemas["Labelled"]["properties"]
    assert "label" in [one["name"] for one in described["paths"]["/api/tasks"]["get"]["parameters"]]
    assert all("label" in schemas[name]["properties"] for name in ("TaskView", "WholeTaskView", "TaskWithChunksView"))


def test_a_key_without_read_does_not_see_it() -> None:
    assert "extras" in OPTION_TEXTS


class Own(of_responses.OnceoverFields, LabelField):
    """The options of a response, with this feature."""


class NewResponse(of_responses.NewResponseFields):
    """The body of a response, with this feature."""

    onceover: Own | None = None


def test_responses_have_it(bench: LabelBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_responses, "NewResponseFields", NewResponse)
    bench.catalogue = CATALOGUE
    body = {"model": "demo-1", "background": True, "input": "text", "onceover": {"label": "a"}}
    status, response = bench.ask("POST", "/v1/responses", body)
    assert (status, response["onceover"]["label"]) == (200, "a")
    assert bench.ask("GET", response["onceover"]["task"])[1]["label"] == "a"

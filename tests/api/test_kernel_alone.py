"""The API of a deployment without features."""

import json
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.api.router import GROUPS, Catalogue, handle
from tests.support.api_bench import ApiBench, BenchRequest

ALONE = Catalogue()


class KernelBench(ApiBench):
    """An API whose catalogue has only the kernel's own calls."""

    catalogue = ALONE

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        reply = self.run(handle(BenchRequest(method, f"http://h{path}", {}, sent), self.api, self.catalogue))
        return reply.status, json.loads(reply.body) if reply.body else None


@pytest.fixture(name="alone")
def kernel_bench() -> KernelBench:
    bench = KernelBench()
    bench.api = replace(bench.api, kind_apis=list)
    return bench


def test_a_task_is_planned_accepted_and_shown(alone: KernelBench) -> None:
    status, plan = alone.ask("POST", "/api/tasks?dryRun=true", {"input": "one\n\ntwo"})
    assert (status, len(plan["chunks"])) == (200, plan["minimumCalls"])
    status, task = alone.ask("POST", "/api/tasks", {"input": "one\n\ntwo"})
    assert (status, task["status"]) == (202, "pending")
    assert [one["id"] for one in alone.ask("GET", "/api/tasks")[1]["tasks"]] == [task["id"]]
    assert alone.ask("GET", task["links"]["chunks"]) == (200, {"chunks": [], "nextCursor": None})
    status, refused = alone.ask("POST", task["links"]["retry"])
    assert (status, refused["code"]) == (409, "not_retryable")
    status, ended = alone.ask("POST", task["links"]["cancel"])
    assert (status, ended["status"]) == (200, "cancelled")


def test_fields_of_features_are_unknown(alone: KernelBench) -> None:
    status, refused = alone.ask("POST", "/api/tasks", {"inputFile": "file-1", "outputSchema": {}})
    assert status == 422
    assert {error["field"]: error["message"] for error in refused["errors"]} == {
        "input": "is required",
        "inputFile": "is not a known field",
        "outputSchema": "is not a known field",
    }


def test_only_the_kernels_calls_are_there(alone: KernelBench) -> None:
    paths = {path for group in GROUPS for path in group.paths} | {"/openapi.json"}
    described = alone.ask("GET", "/openapi.json")[1]
    assert described["paths"].keys() > paths
    assert not [path for path in described["paths"] if not path.startswith(("/api/tasks", "/api/keys", "/openapi"))]
    assert described["components"]["schemas"]["TaskFields"]["required"] == ["input"]
    assert alone.ask("POST", "/v1/responses", {})[0] == 404

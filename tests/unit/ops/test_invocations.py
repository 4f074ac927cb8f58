"""`ops/invocations.py` turns Cloudflare's analytics of invocations into metrics, for an alert on exceeded CPU."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops import invocations
from tests.support.fake_api import FakeApi

PATH = "/client/v4/graphql"
ENVIRON = {"CLOUDFLARE_ACCOUNT_ID": "a" * 32, "CLOUDFLARE_API_TOKEN": "secret"}


def groups(*counts: tuple[str, int]) -> dict[str, Any]:
    found = [{"sum": {"requests": count}, "dimensions": {"status": status}} for status, count in counts]
    return {"data": {"viewer": {"accounts": [{"workersInvocationsAdaptive": found}]}}, "errors": None}


def run(answer: Any, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str, FakeApi]:
    with FakeApi() as api:
        api.on("POST", PATH, answer)
        status = invocations.main(arguments, ENVIRON, f"{api.url}{PATH}")
        printed = capsys.readouterr()
        return status, printed.out, printed.err, api


def test_the_figures_are_prometheus_text(capsys: pytest.CaptureFixture[str]) -> None:
    answer = groups(("success", 900), ("exceededResources", 7), ("success", 50), ("clientDisconnected", 1))
    status, out, err, api = run(answer, capsys, "mine")
    assert (status, err) == (0, "")
    (family,) = text_string_to_metric_families(out)
    assert {sample.labels["status"]: sample.value for sample in family.samples} == {
        "success": 950,
        "exceededResources": 7,
        "clientDisconnected": 1,
    }
    assert {sample.labels["worker"] for sample in family.samples} == {"mine"}
    (asked,) = api.requests("POST", PATH)
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.body["variables"]["worker"] == "mine"
    assert asked.body["variables"]["account"] == "a" * 32


def test_an_hour_without_trouble_says_zero(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _, _ = run(groups(), capsys)
    assert 'onceover_platform_invocations{status="exceededResources",worker="onceover"} 0\n' in out


def test_it_asks_nobody_without_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert invocations.main([], {}, "http://127.0.0.1:9") == 1
    assert "CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN" in capsys.readouterr().err

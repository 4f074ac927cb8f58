"""Alerts, dashboard and docs/operations.md name what exists, and `ops/invocations.py` makes metrics of invocations."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it comes with schemathesis, without stubs
from prometheus_client.parser import text_string_to_metric_families

from ops import invocations
from src.kernel.domain.version import MIGRATIONS, VERSION
from tests.support.api_bench import ApiBench
from tests.support.fake_api import FakeApi
from tests.support.log_events import log_events

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "ops" / "alerts.yml"
DASHBOARD = ROOT / "ops" / "grafana.json"
PAGE = ROOT / "docs" / "operations.md"
_METRIC = re.compile(r"\bonceover_[a-z_]+\b")
_SELECTOR = re.compile(r"\b(onceover_[a-z_]+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def scraped() -> Iterator[dict[str, Any]]:
    bench = ApiBench()
    bench.limit(characters_a_day_most=1_000, tasks_in_flight_most=7)
    bench.submit()
    bench.complete(bench.submit()["id"])
    bench.pass_seconds(1)
    bench.run(bench.store.due(1))  # a sweep
    bench.call("GET", "/api/metrics")
    reply = bench.call("GET", "/api/metrics")
    yield {family.name: family for family in text_string_to_metric_families(reply.body)}
    bench.close()


def samples(scraped: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in scraped.values():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def test_expressions_name_metrics_and_labels_that_there_are(scraped: dict[str, Any]) -> None:
    known = {**samples(scraped), invocations.METRIC: {"status", "worker"}}
    for place, expression in expressions():
        assert expression.count("(") == expression.count(")"), place
        for name in _METRIC.findall(expression):
            assert name in known, (place, name)
        for name, selector in _SELECTOR.findall(expression):
            labels = set(re.findall(r"(\w+)\s*[=!]", selector)) - {"job"}
            assert labels <= known[name], (place, name, labels)
        for name, label in re.findall(r"by \((\w+)\) \(?\w*\(?(onceover_\w+)", expression):
            assert name in {*known.get(label, set()), "job", "le"}, (place, name)


def test_the_platforms_statuses_are_those_of_the_script() -> None:
    """The alert on exceeded CPU uses a status and labels that the analytics script always prints."""
    (expression,) = [expression for place, expression in expressions() if place == "OnceoverCpuExceeded"]
    printed = invocations.exposition(dict.fromkeys(invocations._ALWAYS, 0), "onceover")
    (family,) = text_string_to_metric_families(printed)
    (status,) = re.findall(r'status="(\w+)"', expression)
    assert {"status": status, "worker": "onceover"} in [sample.labels for sample in family.samples]


def test_each_metric_is_in_a_panel_or_a_rule(scraped: dict[str, Any]) -> None:
    used = {name for _, expression in expressions() for name in _METRIC.findall(expression)}
    shown = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in used - {invocations.METRIC}}
    assert {re.sub("_total$", "", name) for name in scraped} == shown


def test_rules_are_whole() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names) >= 10
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "fix", "runbook_url"}
    assert _first_cells("Alert rules") == names


def test_the_page_has_every_metric(scraped: dict[str, Any]) -> None:
    rows = {cells[0].strip("`"): cells[1:3] for cells in _rows("Metrics")}
    known = samples(scraped)
    for family in scraped.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in known[sample.name]} - {"le"}
        assert rows.pop(name) == [family.type, ", ".join(f"`{label}`" for label in sorted(labels)) or "—"], name
    assert not rows


def test_the_page_has_every_event_of_the_log() -> None:
    rows = {cells[0].strip("`"): " ".join(cells[1:]) for cells in _rows("Events")}
    events = log_events()
    assert len(events) > 40
    assert set(rows) == set(events)
    assert list(rows) == sorted(rows)
    for event, facts in events.items():
        missing = {fact for fact in facts - {"task"} if f"`{fact}`" not in rows[event]}
        assert not missing, (event, missing)


def test_version_and_schema_are_those_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert tuple(sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))) == MIGRATIONS


def _rows(heading: str) -> Iterator[list[str]]:
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _first_cells(heading: str) -> list[str]:
    return [cells[0].strip("` ") for cells in _rows(heading)]


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

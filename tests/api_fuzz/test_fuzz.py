"""Lets schemathesis test the real runtime, whose API must do what /openapi.json says, without a server error."""

import itertools
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.client import variables
from tests.support.dev_server import ROOT, DevServer
from tests.support.make_key import insert_key
from tests.support.receiver import Receiver
from tests.support.tiers import sized

pytestmark = pytest.mark.runtime

HOOKS = "tests.api_fuzz.checks"
SEED = 20_261_124
# The coverage phase derives its cases from /openapi.json. The fuzzing phase draws cases for each operation, and the
# stateful phase draws chains of calls.
LEAST_CASES, FUZZED, CHAINS = sized(quick=(0, 0, 0), test=(300, 1, 12), campaign=(5_000, 100, 200))
# In `make test`, tests/api has HEAD and OPTIONS for some paths; in the campaign they are drawn for each path.
LEFT_OUT = sized(quick=("HEAD", "OPTIONS"), test=("HEAD", "OPTIONS"), campaign=())

CONFIG = f"""
[phases.fuzzing.generation]
max-examples = {FUZZED}

[phases.stateful.generation]
max-examples = {CHAINS}

# Of what is wrong in two ways, too large is said first.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


def upload(url: str, key: str) -> str:
    line = {"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": {"model": "demo", "input": "A text."}}
    answer = httpx.post(
        f"{url}/v1/files",
        files={"file": ("lines.jsonl", json.dumps(line).encode())},
        data={"purpose": "batch"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def fuzz(url: str, folder: Path, seed: int, key: str, existing: Mapping[str, str]) -> tuple[int, str]:
    """Run schemathesis, and return its exit status and output. `existing` is put into valid requests."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(config), "run", f"{url}/openapi.json"),
        # The module in SCHEMATHESIS_HOOKS replaces three of schemathesis' checks.
        *("--checks", "all", "--exclude-checks", "negative_data_rejection,positive_data_acceptance,use_after_free"),
        *(part for method in LEFT_OUT for part in ("--exclude-method", method)),
        *("--seed", str(seed), "--generation-database", "none", "--workers", "2"),
        *("--continue-on-failure", "--no-color"),
        *("--report", "har", "--report-har-path", str(folder / "calls.har")),
        *("--header", f"Authorization: Bearer {key}"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT), **existing},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def cases(output: str) -> int:
    found = re.search(r"^  ([0-9,]+) generated", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def answers(folder: Path) -> Iterator[tuple[str, str, int]]:
    for entry in json.loads((folder / "calls.har").read_text())["log"]["entries"]:
        request, response = entry["request"], entry["response"]
        path = re.sub(
            r"(/api/tasks/|/v1/responses/|/v1/files/|/v1/batches/|/v1/webhook_endpoints/)[^/]+",
            r"\1{id}",
            urlsplit(request["url"]).path,
        )
        yield request["method"], path, response["status"]


def mistakes(lines: Sequence[str]) -> list[str]:
    return [
        line for line in lines if re.search(r'Traceback|"event":"(unexpected|database_error|database_trouble)"', line)
    ]


# The API gives these answers only for existing tasks, endpoints, files and batches. If no answer of a group has come,
# schemathesis cannot follow the operations' links.
REACHED = (
    {("GET", "/api/tasks/{id}", 200)},
    {("GET", "/api/tasks/{id}/chunks", 200)},
    {("DELETE", "/api/tasks/{id}", 204)},
    {("POST", "/api/tasks/{id}/cancel", 200), ("POST", "/api/tasks/{id}/cancel", 409)},
    {("POST", "/api/tasks/{id}/retry", 202), ("POST", "/api/tasks/{id}/retry", 409)},
    {("POST", "/v1/responses", 200)},
    {("GET", "/v1/responses/{id}", 200)},
    {("GET", "/v1/responses/{id}/input_items", 200)},
    {("POST", "/v1/responses/{id}/cancel", 200)},
    {("DELETE", "/v1/responses/{id}", 200)},
    {("POST", "/v1/files", 200)},
    {("GET", "/v1/files/{id}", 200)},
    {("GET", "/v1/files/{id}/content", 200)},
    {("DELETE", "/v1/files/{id}", 200)},
    {("POST", "/v1/batches", 200)},
    {("GET", "/v1/batches/{id}", 200)},
    {("POST", "/v1/batches/{id}/cancel", 200), ("POST", "/v1/batches/{id}/cancel", 409)},
    {("POST", "/v1/webhook_endpoints", 200)},
    {("GET", "/v1/webhook_endpoints/{id}", 200)},
    {("POST", "/v1/webhook_endpoints/{id}/rotate_secret", 200)},
    {("POST", "/v1/webhook_endpoints/{id}/test", 200)},
    {("DELETE", "/v1/webhook_endpoints/{id}", 200)},
)


@pytest.mark.timeout(sized(quick=300, test=300, campaign=1_800))
def test_api_is_as_described(tmp_path: Path):
    values = {"REQUIRE_KEYS": "true", "WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    with Receiver() as receiver, DevServer(tmp_path / "state", *variables(values)) as server:
        key = insert_key(tmp_path / "state")
        count, seen = 0, set[tuple[str, str, int]]()
        for seed in itertools.count(SEED):
            existing = {"FUZZ_RECEIVER": receiver.url, "FUZZ_INPUT_FILE": upload(server.url, key)}
            status, output = fuzz(server.url, tmp_path, seed, key, existing)
            print(output)
            assert status == 0, output
            count += cases(output)
            seen.update(answers(tmp_path))
            if count >= LEAST_CASES:
                break
        print(f"{count} cases")
        assert all(group & seen for group in REACHED), seen
        assert max(status for _, _, status in seen) < 500
        assert not mistakes(server.lines)
        assert receiver.received

"""Tests that the dashboard's files are served as Cloudflare serves them, under a strict content security policy."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.node import find_node
from tests.support.dev_server import ROOT, DevServer
from tests.support.programs import output_of

pytestmark = pytest.mark.runtime
PUBLIC = ROOT / "public"
EARLY_MODULES_MOST = 15

FILES = sorted(f"/{path.relative_to(PUBLIC).as_posix()}" for path in PUBLIC.rglob("*") if path.is_file())
ASSETS = [name for name in FILES if name not in {"/_headers", "/index.html"}]
# Headers of an answer that depend on the transport and not on the file.
TRANSPORT = {"date", "connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "vary"}
OWN = {"etag", "cf-cache-status"}

REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    *(("GET", name, {}) for name in ["/", "/index.html", "/index", "/index.html?a=b", *ASSETS]),
    ("HEAD", "/", {}),
    ("HEAD", "/app/main.js", {}),
    ("POST", "/", {}),
    ("DELETE", "/app/main.js", {}),
    ("OPTIONS", "/", {}),
    *(
        ("GET", path, {})
        for path in ("/_headers", "/app", "/app/", "/app/none.js", "/tasks", "/api/x", "/api", "/v1/x")
    ),
    ("GET", "/openapi.json", {}),
    ("POST", "/api/tasks", {}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The project as `make dev` serves it, without keys."""
    with DevServer(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture(scope="module")
def cloudflare() -> dict[str, Any]:
    told = json.dumps({"project": str(ROOT), "requests": REQUESTS})
    command = [str(find_node()), str(ROOT / "tests" / "support" / "assets.mjs")]
    return json.loads(output_of(command, input=told))


def shown(status: int, headers: dict[str, str], body: str) -> dict[str, object]:
    names = {name.lower(): value for name, value in headers.items() if name.lower() not in TRANSPORT | OWN}
    return {"status": status, "headers": names, "body": body}


def test_files_are_served_as_cloudflare_serves_them(server: DevServer, cloudflare: dict[str, Any]) -> None:
    for (method, path, headers), theirs in zip(REQUESTS, cloudflare["answers"], strict=True):
        answer = httpx.request(method, server.url + path, headers=headers)
        if theirs is None:
            assert "x-request-id" in answer.headers, path  # The Worker answered.
            continue
        ours = shown(answer.status_code, dict(answer.headers), answer.text)
        assert ours == shown(theirs["status"], theirs["headers"], theirs["body"]), path
    tag = httpx.get(server.url).headers["etag"]
    again = httpx.get(server.url, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_all_environments_have_the_same_assets(cloudflare: dict[str, Any]) -> None:
    top, free, direct = (cloudflare["environments"][name] for name in ("", "free", "direct"))
    assert top == free == direct
    assert Path(top["directory"]) == PUBLIC
    assert "binding" not in top
    assert top["routerConfig"]["static_routing"]["user_worker"] == ["/api/*", "/v1/*", "/mcp", "/openapi.json"]


def test_the_policy_is_strict(server: DevServer) -> None:
    """Only scripts and styles of the origin, no markup from text, and no inline code on the page."""
    page = httpx.get(server.url)
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == rules["img-src"] == "'self'"
    assert (rules["require-trusted-types-for"], rules["trusted-types"]) == ("'script'", "'none'")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)
    sources = "".join(path.read_text() for path in (PUBLIC / "app").rglob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", sources)
    assert not re.search(r"https?://\w", sources + page.text)


def test_the_api_is_untouched(server: DevServer) -> None:
    for path in ("/api/x", "/api/", "/nothing", "/app/none.js"):
        answer = httpx.get(server.url + path)
        assert (answer.status_code, answer.json()["status"]) == (404, 404), path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
    wrong = httpx.put(f"{server.url}/api/tasks")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


def test_the_page_names_what_each_view_needs(server: DevServer) -> None:
    named = re.findall(
        r'(?:rel="modulepreload" href|type="module"(?: async)? src)="([^"]+)"', httpx.get(server.url).text
    )
    needed: set[str] = set()
    left = ["app/early.js", "app/main.js"]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            imported = re.findall(r'\b(?:import|from) ?"([^"]+)"', (PUBLIC / name).read_text())
            left += [os.path.normpath(f"{name}/../{one}") for one in imported]
    assert sorted(named) == sorted(needed)
    assert len(needed) <= EARLY_MODULES_MOST

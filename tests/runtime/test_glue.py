"""Tests that the local runtime is like Cloudflare's: the glue code, the snapshots, and the clock."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.node import ROOT
from tests.support.client import Json
from tests.support.dev_server import DevServer
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime

CLOSE_SECONDS = 120  # The most seconds by which an isolate's first time may differ from the true time.
# The flags that the local runtime sets for its own Pyodide bundle; `python_dedicated_snapshot` enables the memory
# snapshot. The compatibility date of wrangler.toml implies the flags in `FLAGS_AS_HOSTED`.
FLAGS_OF_OUR_BUNDLE = {"python_workers_development", "python_dedicated_snapshot"}
FLAGS_AS_HOSTED = {
    *("enable_python_external_sdk", "python_check_rng_state", "python_no_global_handlers", "python_process_pth_files"),
    *("python_request_headers_preserve_commas", "python_workers", "python_workers_force_new_vendor_path"),
    *("python_workflows", "python_workflows_implicit_dependencies"),
}


@pytest.fixture(scope="module", params=["moving", "standing"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp(request.param)
    write_tiny_worker(folder / "project")
    arguments = ("--clock", request.param, "--cron-every", "600")
    with DevServer(folder / "state", *arguments, project=folder / "project") as server:
        yield server


def test_the_glue_is_cloudflares(tiny: DevServer):
    seen = httpx.get(f"{tiny.url}/glue", timeout=20).json()
    assert any(name.startswith("_cloudflare.introspection_") for name in seen["modules"]), seen
    assert {"_cloudflare.allow_entropy", "_cloudflare_compat_flags"} <= set(seen["modules"])
    assert set(seen["flags"]) == FLAGS_AS_HOSTED | FLAGS_OF_OUR_BUNDLE
    packages = {
        name: json.loads((ROOT / "node_modules" / name / "package.json").read_text()) for name in ("pyodide", "workerd")
    }
    assert seen["pyodide"] == packages["pyodide"]["version"]
    (line,) = (line for line in tiny.lines if line.startswith("runtime "))
    assert f"workerd {packages['workerd']['version']}, Cloudflare's own Python glue, Pyodide {seen['pyodide']}" in line


def is_exact(seen: Json) -> bool:
    return all(asked == passed for asked, passed in seen["timers"])


def test_the_standing_clock_stands_within_a_turn_and_is_exact_in_a_timer(tiny: DevServer):
    """A long computation takes no time, and a timer of n ms exactly n; repeated until neither was late."""

    def ask() -> Json:
        return httpx.get(f"{tiny.url}/clock", timeout=60).json()

    seen = ask()
    assert abs(seen["first"] / 1000 - time.time()) < CLOSE_SECONDS
    if "standing" in tiny.command:
        seen = next(found for found in (ask() for _ in range(20)) if found["within a turn"] == 0 and is_exact(found))
    exact = is_exact(seen)
    if "standing" in tiny.command:
        assert seen["within a turn"] == 0
        assert exact, seen
    else:
        assert seen["within a turn"] > 0


def test_the_clock_of_requests_in_a_row_is_late_by_less_than_a_second(tiny: DevServer):
    late = []
    with httpx.Client(timeout=60) as client:
        for _ in range(40):
            asked_at = time.time()
            late.append(asked_at - client.get(f"{tiny.url}/clock").json()["first"] / 1000)
    assert max(late) < 1, late


def test_a_start_takes_the_snapshot_of_its_own_source_alone(tmp_path: Path):
    source = write_tiny_worker(tmp_path / "project")
    unique = f"# {tmp_path}\n"
    (source / "greeting.py").write_text(f"{unique}GREETING = 'hello'\n")
    shutil.copytree(tmp_path / "project", tmp_path / "copy")

    def start(name: str, project: str = "project") -> tuple[int, str]:
        with DevServer(tmp_path / name, project=tmp_path / project) as server:
            said = httpx.get(f"{server.url}/status", timeout=20).json()["greeting"]
            return sum(line.startswith("Importing the Worker") for line in server.lines), said

    first = DevServer(tmp_path / "one", project=tmp_path / "project")
    first.launch()
    try:
        first.wait_for_line("^Importing the Worker")
        assert start("two", "copy") == (0, "hello")
        first.wait_for_line("^Ready on")
    finally:
        first.__exit__(None, None, None)
    (source / "greeting.py").write_text(f"{unique}GREETING = 'changed'\n")
    assert start("three") == (1, "changed")

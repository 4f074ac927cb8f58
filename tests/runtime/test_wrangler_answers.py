"""Tests that the local runtime keeps wrangler's answers, and uses one only if wrangler would give it again."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.node import find_node
from tests.support.dev_server import ROOT
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime

READ_BY_WRANGLER = re.compile(r"(CF|CLOUDFLARE|WRANGLER)_")
CONFIGURATION = ["unstable_readConfig", "unstable_getMiniflareWorkerOptions"]
DIVISION = ["unstable_splitSqlQuery"]
VARIABLES = ["unstable_getVarsForDev"]


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not READ_BY_WRANGLER.match(name)}


class Asker:
    """A process that answers as the local runtime does, and says which functions of wrangler it used for an answer."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [str(find_node()), "tests/support/wrangler_answers.mjs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"NODE_COMPILE_CACHE": str(ROOT / ".build" / "node"), **plain_environment(), **(environ or {})},
        )

    def ask(
        self, root: Path, project: Path, env: str | None = None, meanwhile: str | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the answers about a project, and the functions of wrangler used. `meanwhile`: new contents."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"root": str(root), "project": str(project), "env": env, "meanwhile": meanwhile}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answers: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answers, answers.pop("asked")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    """The process for all tests that need no environment variables, since wrangler takes long to load."""
    process = Asker()
    yield process
    process.end()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_tiny_worker(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def kept(root: Path) -> list[Path]:
    return sorted((root / ".build" / "wrangler").glob("*"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_wrangler_is_asked_once_for_each_configuration(asker: Asker, root: Path, project: Path) -> None:
    first, asked = asker.ask(root, project)
    assert asked == [*CONFIGURATION, *DIVISION]
    assert first["configuration"]["database"] == "DB"
    assert first["configuration"]["workerOptions"]["durableObjects"]["COUNTER"]["className"] == "Counter"
    assert len(first["migrations"][0]["statements"]) == 2
    shutil.copytree(project, project.parent / "copy")
    for folder in (project, project.parent / "copy"):
        assert asker.ask(root, folder) == (first, [])
    other, asked = asker.ask(root, project, "bare")
    assert asked == CONFIGURATION
    assert other["configuration"]["workerOptions"]["durableObjects"] == {}
    assert asker.ask(root, project, "bare") == (other, [])
    assert asker.ask(root, project) == (first, [])


def test_a_change_is_seen(asker: Asker, root: Path, project: Path) -> None:
    first, _ = asker.ask(root, project)
    settings, migration = project / "wrangler.toml", project / "migrations" / "0001_notes.sql"
    edit(settings, 'FROM_FILE = "toml"', 'FROM_FILE = "changed"')
    answers, asked = asker.ask(root, project)
    assert answers["variables"] == {**first["variables"], "FROM_FILE": "changed"}
    assert asked == CONFIGURATION
    migration.write_text("CREATE TABLE others (a INT) STRICT;")
    answers, asked = asker.ask(root, project)
    assert answers["migrations"] == [{"name": "0001_notes.sql", "statements": ["CREATE TABLE others (a INT) STRICT;"]}]
    assert asked == DIVISION


@pytest.mark.parametrize("name", [".dev.vars", ".dev.vars.bare", ".env", ".env.bare.local"])
def test_secrets_are_read_by_wrangler_and_never_kept(asker: Asker, root: Path, project: Path, name: str) -> None:
    (project / name).write_text("FROM_SECRETS=swordfish-of-the-file\n")
    for _ in range(2):
        answers, asked = asker.ask(root, project, "bare")
        assert answers["variables"]["FROM_SECRETS"] == "swordfish-of-the-file"
    assert asked == VARIABLES
    assert len(kept(root)) == 2
    assert all("swordfish" not in file.read_text() for file in kept(root))
    (project / name).unlink()
    answers, asked = asker.ask(root, project, "bare")
    assert "FROM_SECRETS" not in answers["variables"]
    assert asked == []

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
from tests.support.dev_server import ROOT, DevServer
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime

READ_BY_WRANGLER = re.compile(r"(CF|CLOUDFLARE|WRANGLER)_")
CONFIGURATION = ["unstable_readConfig", "unstable_getMiniflareWorkerOptions"]
DIVISION = ["unstable_splitSqlQuery"]
VARIABLES = ["unstable_getVarsForDev"]


def plain_environment() -> dict[str, str]:
    """Return this process's environment variables without those that wrangler may read, with which nothing is kept."""
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
        """Return the answers about a project, and the functions of wrangler that were used.

        Answers are kept below `root`. With `meanwhile` wrangler.toml gets these contents while wrangler is asked.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"root": str(root), "project": str(project), "env": env, "meanwhile": meanwhile}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answers: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answers, answers.pop("asked")

    def end(self) -> None:
        """End the process."""
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
    """The folder of a tiny Worker with one migration."""
    write_tiny_worker(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder below which no answers are kept yet."""
    return tmp_path / "root"


def kept(root: Path) -> list[Path]:
    """Return the files of kept answers."""
    return sorted((root / ".build" / "wrangler").glob("*"))


def edit(file: Path, old: str, new: str) -> None:
    """Replace text in a file that has it once."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_wrangler_is_asked_once_for_each_configuration(asker: Asker, root: Path, project: Path) -> None:
    """The second answer about a configuration is the first one, without wrangler, for a copy of the project too."""
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
    """After a change of wrangler.toml or of a migration, the answer is the one about the new contents."""
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


def test_a_change_while_wrangler_is_asked_is_seen(asker: Asker, root: Path, project: Path) -> None:
    """An answer about contents that wrangler.toml got after the start has looked at it is not kept for the old ones."""
    settings = project / "wrangler.toml"
    plain = settings.read_text()
    answers, _ = asker.ask(root, project, meanwhile=plain.replace('name = "tiny"', 'name = "changed"'))
    assert answers["configuration"]["name"] == "changed"
    settings.write_text(plain)
    answers, asked = asker.ask(root, project)
    assert answers["configuration"]["name"] == "tiny"
    assert asked == CONFIGURATION


@pytest.mark.parametrize("name", [".dev.vars", ".dev.vars.bare", ".env", ".env.bare.local"])
def test_secrets_are_read_by_wrangler_and_never_kept(asker: Asker, root: Path, project: Path, name: str) -> None:
    """wrangler reads each file of variables at each start, and no kept file contains its values."""
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


HYPERDRIVE = """
[[hyperdrive]]
binding = "H"
id = "1"
localConnectionString = "postgres://me:swordfish@localhost/db"
"""
BUCKET_WITH_CREDENTIALS = """
[[r2_buckets]]
binding = "B"
bucket_name = "bucket"
[r2_buckets.local_dev.experimental_s3_credentials]
accessKeyId = "me"
secretAccessKey = "swordfish"
"""


@pytest.mark.parametrize("more", [HYPERDRIVE, BUCKET_WITH_CREDENTIALS])
def test_what_more_than_wrangler_toml_may_decide_is_not_kept(
    asker: Asker, root: Path, project: Path, more: str
) -> None:
    """wrangler is asked each time about a database whose address may come from the environment."""
    with (project / "wrangler.toml").open("a") as settings:
        settings.write(more)
    for _ in range(2):
        answers, asked = asker.ask(root, project)
        assert "swordfish" in json.dumps(answers)
        assert asked[:2] == CONFIGURATION
    assert all("swordfish" not in file.read_text() for file in kept(root))


@pytest.mark.parametrize("main", ["{project}/src/entry.py", "../other/src/entry.py"])
def test_what_a_copy_of_the_project_would_read_otherwise_is_not_kept(
    asker: Asker, root: Path, project: Path, main: str
) -> None:
    """wrangler is asked each time about a `main` with its whole path, or outside the project."""
    settings = project / "wrangler.toml"
    shutil.copytree(project, project.parent / "other")
    settings.write_text(settings.read_text().replace("src/entry.py", main.format(project=project)))
    for _ in range(2):
        assert asker.ask(root, project)[1][:2] == CONFIGURATION


def test_environment_variables_of_wrangler_prevent_kept_answers(asker: Asker, root: Path, project: Path) -> None:
    """If a variable is set that wrangler reads, wrangler is asked although answers are kept, and keeps none itself."""
    asker.ask(root, project)
    before = {file: file.read_bytes() for file in kept(root)}
    other = Asker({"CLOUDFLARE_INCLUDE_PROCESS_ENV": "true", "SWORDFISH": "of-the-environment"})
    try:
        for _ in range(2):
            answers, asked = other.ask(root, project)
            assert answers["variables"]["SWORDFISH"] == "of-the-environment"
            assert asked == [*CONFIGURATION, *VARIABLES, *DIVISION]
    finally:
        other.end()
    assert {file: file.read_bytes() for file in kept(root)} == before


def test_damaged_and_foreign_files_are_replaced(asker: Asker, root: Path, project: Path) -> None:
    """A file that is empty, cut off, changed or foreign is not used, and is replaced by wrangler's next answer."""
    first, _ = asker.ask(root, project)
    files = {file: file.read_bytes() for file in kept(root)}
    assert len(files) == 2
    for damage in (
        lambda _: b"",
        lambda text: text[:-1],
        lambda text: text.replace(b"o", b"0"),
        lambda text: text.partition(b"\n")[2],
        lambda _: b"\xff\x00{}\n[]\n",
    ):
        for file, contents in files.items():
            file.write_bytes(damage(contents))
        assert asker.ask(root, project) == (first, [*CONFIGURATION, *DIVISION])
        assert asker.ask(root, project) == (first, [])
    assert {file: file.read_bytes() for file in kept(root)} == files


def test_where_nothing_can_be_kept_wrangler_is_asked(asker: Asker, root: Path, project: Path) -> None:
    """If the folder of kept answers cannot be made, there are answers all the same."""
    (root / ".build").mkdir(parents=True)
    (root / ".build" / "wrangler").write_text("not a folder")
    first, _ = asker.ask(root, project)
    assert asker.ask(root, project) == (first, [*CONFIGURATION, *DIVISION])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('crons = ["* * * * *"]', "crons = 1", "crons"),
        ('name = "tiny"\n', 'name = "tiny\n', "Invalid TOML document"),
        ('[ai]\nbinding = "AI"', '[assets]\ndirectory = "src/entry.py"', "doesn't point to a directory"),
    ],
)
def test_a_faulty_configuration_is_faulty_each_time(
    asker: Asker, root: Path, project: Path, old: str, new: str, says: str
) -> None:
    """wrangler's error about wrangler.toml comes at each start, and nothing is kept."""
    settings = project / "wrangler.toml"
    settings.write_text(settings.read_text().replace(old, new, 1))
    first, asked = asker.ask(root, project)
    assert says in first["error"]
    assert asked
    assert asker.ask(root, project) == (first, asked)
    assert kept(root) == []


def test_assets_that_wrangler_would_refuse_now_are_refused(asker: Asker, root: Path, project: Path) -> None:
    """If the folder of assets has become a file since wrangler was asked, wrangler's error comes as without keeping."""
    with (project / "wrangler.toml").open("a") as settings:
        settings.write('\n[assets]\ndirectory = "public"\n')
    first, _ = asker.ask(root, project)
    assert asker.ask(root, project) == (first, [])
    (project / "public").write_text("")
    answers, asked = asker.ask(root, project)
    assert "public" in answers["error"]
    assert asked == CONFIGURATION
    (project / "public").unlink()
    (project / "public" / "_headers").mkdir(parents=True)
    answers, asked = asker.ask(root, project)
    assert "EISDIR" in answers["error"]
    assert asked == CONFIGURATION


def test_the_answers_that_were_used_last_are_kept(asker: Asker, root: Path, project: Path) -> None:
    """Of many answers 64 are kept. A use of an answer counts, not only its making."""
    asker.ask(root, project)
    in_use = set(kept(root))
    for number in range(80):
        file = root / ".build" / "wrangler" / f"old-{number}"
        file.write_text("")
        os.utime(file, (1_000 + number, 1_000 + number))
    for file in in_use:
        os.utime(file, (500, 500))
    asker.ask(root, project)
    asker.ask(root, project, "bare")
    names = {file.name for file in kept(root)}
    assert len(names) == 64
    assert {file.name for file in in_use} < names
    assert "old-79" in names
    assert "old-0" not in names


def test_a_start_does_not_load_wrangler_again(
    tmp_path: Path, project: Path, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server starts without loading wrangler if the answers about its project are kept."""
    for name in os.environ.keys() - plain_environment().keys():
        monkeypatch.delenv(name)
    asker.ask(ROOT, project)
    loaded, preload = tmp_path / "loaded.json", tmp_path / "preload.cjs"
    preload.write_text(
        'process.on("exit", () => require("node:fs").writeFileSync('
        f"{json.dumps(str(loaded))}, JSON.stringify(Object.keys(require.cache))));\n"
    )
    with DevServer(tmp_path / "state", project=project, environ={"NODE_OPTIONS": f"--require={preload}"}) as server:
        assert server.stop() == 0
    modules = json.loads(loaded.read_text())
    assert any("node_modules/miniflare/" in module for module in modules)
    assert not any("node_modules/wrangler/" in module and not module.endswith("package.json") for module in modules)

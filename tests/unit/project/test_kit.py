"""The contributors' tools: one list of versions, one list of checks, paths that exist, and a pinned workflow."""

import importlib
import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from local.node import ROOT

yaml: Any = importlib.import_module("yaml")

FOLDERS = ("docs", "examples", "simulator", ".github")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.md"))])


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def recipe(target: str) -> list[str]:
    """Return the commands of a target of the Makefile, with variables filled in."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert found is not None
    text = found[1].replace("$(PY)", ".venv/bin/python").replace("$(VENV)", ".venv")
    return [line.strip() for line in text.splitlines()]


def pins(path: str) -> dict[str, str]:
    """Return the package names and versions that a requirements file pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", read(path), re.MULTILINE))


# --- hooks ------------------------------------------------------------------------------------------------


def hooks() -> list[dict[str, Any]]:
    repos = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    found: list[dict[str, Any]] = repos[0]["hooks"]
    return found


def test_the_hooks_are_the_commands_of_make_check():
    """The pre-commit hooks are exactly the commands of `make check`, in the same order."""
    assert [hook["entry"] for hook in hooks()] == recipe("check")


def test_the_hooks_run_the_pinned_tools():
    """A hook installs nothing."""
    for hook in hooks():
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        assert "additional_dependencies" not in hook
        assert (hook["pass_filenames"], hook["always_run"]) == (False, True)


@pytest.mark.parametrize("tool", ["ruff", "mypy", "import-linter", "pyyaml"])
def test_the_installed_tools_are_the_pinned_ones(tool: str):
    """The tools that run here have the versions that requirements/dev.txt pins."""
    assert importlib.metadata.version(tool) == pins("requirements/dev.txt")[tool]


def test_the_workers_packages_have_one_version_each():
    """pyproject.toml (for pywrangler) and requirements/worker.txt (for `make install`) have the same versions."""
    named = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    pinned = pins("requirements/worker.txt")
    assert dict(item.split("==") for item in named).items() <= pinned.items()
    assert pins("requirements/worker.in").items() <= pinned.items()


# --- files that tools read ----------------------------------------------------------------------------------


def test_the_editor_is_told_what_the_formatter_does():
    """.editorconfig has the line length of ruff and the tabs of the Makefile."""
    config = ConfigParser()
    config.read_string("[top]\n" + read(".editorconfig"))
    line_length = tomllib.loads(read("pyproject.toml"))["tool"]["ruff"]["line-length"]
    assert config.getint("*.{py,toml}", "max_line_length") == line_length
    assert config.get("Makefile", "indent_style") == "tab"
    assert config.get("*", "indent_style") == "space"


def test_every_file_is_as_the_editor_is_told():
    """Each text file is UTF-8 with line feeds, ends with a line feed, and has no blanks at line ends."""
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


def test_the_licence_is_mit():
    """The licence is MIT, so anyone may use, change and pass on the project."""
    assert read("LICENSE").startswith("MIT License\n\nCopyright (c) 2026 the onceover authors\n")


def test_no_lock_file_of_uv_is_committed():
    """The repository has no lock file of uv, since requirements/*.txt are the only list of versions."""
    assert "uv.lock" in read(".gitignore").splitlines()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "uv.lock" not in tracked.splitlines()


# --- GitHub ---------------------------------------------------------------------------------------------------


def test_the_workflow_runs_what_everyone_can_run():
    """The workflow for every change runs `.ci/run` and the report of coverage."""
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


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_the_issue_forms_are_forms(name: str):
    """Each issue form has the fields that GitHub requires."""
    form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert form["name"]
    assert form["description"]
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in questions} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert len({part["id"] for part in questions}) == len(questions)
    assert all(part["attributes"]["label"] for part in questions)
    assert any(part.get("validations", {}).get("required") for part in questions)


# --- documents ------------------------------------------------------------------------------------------------


def test_help_lists_every_target_that_is_described():
    """`make help` prints one line for each target with a description, and aligns the descriptions."""
    described = re.findall(r"^([a-z][a-z0-9-]*):.*## ", read("Makefile"), re.MULTILINE)
    assert {"format", "docs", "check", "help", "install"} <= set(described)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [re.fullmatch(r"  make ([a-z0-9-]+)( +)\S.*", line) for line in shown.splitlines()]
    assert [line[1] for line in lines if line] == described
    assert len({line.end(2) for line in lines if line}) == 1
    (phony,) = re.findall(r"^\.PHONY: ([^$].*)$", read("Makefile"), re.MULTILINE)
    assert set(phony.split()) == set(described)


def test_the_makefile_works_from_elsewhere(tmp_path: Path):
    """`make -f` works from any folder: the Makefile finds its own folder, and passes variables on."""
    for name in ("help", "dev", "local"):
        (tmp_path / name).write_text("")
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    # make runs here as a user calls it: inside another make it would inherit the other's flags, and would print its
    # folder.
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "-f", str(folder / "Makefile")]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("  make help ")
    told = subprocess.run(
        [*command, "-n", "dev", "ARGS=--port 9"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"-C '{folder.resolve()}' dev" in told.stdout
    assert "-m local.dev --port 9\n" in told.stdout


def test_the_map_leads_to_every_document():
    """docs/README.md links to each document in docs/, and each of its links leads somewhere."""
    linked = {
        target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)#]+[^)]*)\)", read("docs/README.md"))
    }
    there = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")} - {"README.md"}
    assert there - linked == set()
    assert [target for target in linked if not (ROOT / "docs" / target).exists()] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_path_that_is_named_is_there(name: str):
    """Each text in code marks that looks like a path of the repository is the path of an existing file or folder."""
    marked = re.findall(r"`([\w.-]*(?:/[\w.*-]+)+/?|[\w-]+\.(?:md|toml|json))`", read(name))
    assert marked
    assert [path for path in marked if not any(ROOT.glob(path.rstrip("/")))] == []


def test_the_glossary_knows_where_its_words_live():
    """In docs/glossary.md each word has a meaning and the path of an existing module, and occurs once."""
    rows = re.findall(r"^\| ([a-z][^|]*) \| ([^|]+) \|(?: `([^`]+)` \|)?$", read("docs/glossary.md"), re.MULTILINE)
    words = [word.strip() for names, _, _ in rows if names != "word" for word in names.split(",")]
    assert len(words) > 60
    assert len(words) == len(set(words))
    assert all(meaning.strip().endswith((".", ".)")) for names, meaning, _ in rows if names != "word")
    paths = [path for _, _, path in rows if path]
    assert len(paths) == len(rows) - sum(names == "word" for names, _, _ in rows)
    assert [path for path in paths if not (ROOT / "src" / path).is_file() and not (ROOT / path).is_file()] == []


def test_every_target_that_a_document_names_exists():
    """Each `make NAME` in a document names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", read("Makefile"), re.MULTILINE))
    named = {
        (document.name, target)
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {item for item in named if item[1] not in targets} == set()

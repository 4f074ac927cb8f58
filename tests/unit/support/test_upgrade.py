"""`python -m tests.upgrade` chooses the commit from which it upgrades."""

import subprocess
from pathlib import Path

import pytest

from tests import upgrade
from tests.upgrade import FIRST, has_schema, release_before


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a repository with many migrations that were later replaced by one, and with a later commit of code only."""
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "chain", **{"migrations/0001_tasks.sql": "CREATE TABLE tasks (id);\n" * 9})
    git(tmp_path, "mv", "migrations/0001_tasks.sql", FIRST)
    commit(tmp_path, "squash")
    commit(tmp_path, "code", **{"src/entry.py": ""})
    return tmp_path


def git(root: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(["git", *names, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(root: Path, message: str, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        git(root, "add", name)
    git(root, "commit", "--quiet", "--message", message)


def subject(root: Path, name: str) -> str:
    return git(root, "log", "-1", "--format=%s", name)


def test_the_first_version_is_that_of_the_first_migration(root: Path) -> None:
    """If there is only the first migration, the upgrade begins at the commit that added it."""
    assert subject(root, release_before(root)) == "squash"


def test_later_it_is_the_one_before_the_newest_migration(root: Path) -> None:
    """If there are several migrations, the upgrade begins at the last commit without the newest one."""
    commit(root, "second", **{"migrations/0002_second.sql": ""})
    commit(root, "more code", **{"src/more.py": ""})
    assert subject(root, release_before(root)) == "code"


def test_what_has_another_schema_is_told_apart(root: Path) -> None:
    """A commit from before the first migration has another schema, which no migration changes into the present one."""
    assert has_schema("HEAD", root)
    assert not has_schema("HEAD~2", root)


def test_it_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m tests.upgrade` from a commit with another schema ends with status 2, before anything is served."""
    monkeypatch.setattr(upgrade, "has_schema", lambda commit: False)
    with pytest.raises(SystemExit) as left:
        upgrade.main(["--from", "abc"])
    assert left.value.code == 2
    assert f"abc has no {FIRST}" in capsys.readouterr().err

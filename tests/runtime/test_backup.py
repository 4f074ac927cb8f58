"""Runs the commands of docs/backup.md (export, rewrite, import) with the real wrangler on local databases."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from local.node import ROOT, wrangler
from ops import importable
from tests.support.client import Client
from tests.support.dev_server import DevServer

PAGE = (ROOT / "docs" / "backup.md").read_text("utf-8")
STATEMENT_BYTES_MOST = 100_000  # D1's limit


def written(beginning: str) -> str:
    """Return the only command of docs/backup.md that has this beginning."""
    (command,) = re.findall(rf"^ *({re.escape(beginning)}.*)$", PAGE, re.MULTILINE)
    return command


def run(command: str, folder: Path) -> str:
    """Run a command of docs/backup.md on the local database instead of the account's. Returns its output."""
    assert "--remote" in command or "wrangler" not in command
    words = command.replace("--remote", "--local").replace("npx wrangler ", "")
    if words != command:
        done = subprocess.run(wrangler(*words.split()), cwd=folder, capture_output=True, text=True, check=False)
    else:
        done = subprocess.run(["bash", "-euc", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.runtime
def test_an_export_comes_back_whole(tmp_path: Path) -> None:
    """After an export and an import, three texts are unchanged byte by byte; one of them is far longer than an SQL
    statement may be.
    """
    english = (ROOT / "examples" / "english.txt").read_text("utf-8")
    texts = [english, (ROOT / "examples" / "chinese.txt").read_text("utf-8"), (english * 31)[:900_000]]
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copytree(ROOT / "ops", tmp_path / "ops")
    (tmp_path / ".build").mkdir()
    config = (ROOT / "wrangler.toml").read_text("utf-8")
    (tmp_path / "wrangler.toml").write_text(config)
    with (
        DevServer(tmp_path / ".wrangler" / "state", "--var", "KEEP_INPUT:true") as server,
        Client(server.url) as client,
    ):
        done = {text: client.finished(client.submit(text)["id"], 120) for text in texts}
        server.stop()
    run(written("npx wrangler d1 export"), tmp_path)
    assert "completed" in run(written("python3 -c 'import sqlite3;"), tmp_path)
    run(written("python3 ops/importable.py"), tmp_path)
    restored = re.search(r'`(database_name = "onceover-restored")` in all three places', PAGE)
    assert restored is not None
    assert config.count('database_name = "onceover"') == 3
    (tmp_path / "wrangler.toml").write_text(config.replace('database_name = "onceover"', restored[1]))
    shutil.rmtree(tmp_path / ".wrangler")
    run(written("npx wrangler d1 execute DB"), tmp_path)
    with DevServer(tmp_path / ".wrangler" / "state") as server, Client(server.url) as client:
        for task in done.values():
            again = client.task(task["id"])
            assert again["result"] == task["result"]
            assert again["usage"] == task["usage"]
        assert client.finished(client.submit("A new text.")["id"])["status"] == "completed"
        server.stop()
    (place,) = [path for path in (tmp_path / ".wrangler").glob("state/v3/d1/*/*.sqlite") if "metadata" not in path.name]
    with closing(sqlite3.connect(place)) as database:
        inputs = {row[0] for row in database.execute("SELECT input FROM texts")}
    assert set(texts) <= inputs


def test_a_long_value_is_written_in_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After an export and an import, values of all kinds (any characters, bytes, quotes, nulls, numbers) are unchanged.

    No statement of the import is too long for D1.
    """
    text, body = "'中𠀀\n" * 40_000, bytes(range(256)) * 500
    export = tmp_path / "export.sql"
    with closing(sqlite3.connect(":memory:")) as made:
        made.execute(
            "CREATE TABLE t (a TEXT, b INTEGER, t TEXT, x BLOB, r REAL, n TEXT, g TEXT AS (a || 'x'),"
            " PRIMARY KEY (a, b))"
        )
        made.execute("CREATE INDEX t_by_r ON t (r)")
        made.execute("INSERT INTO t VALUES ('it''s', 7, ?, ?, 0.5, NULL)", (text, body))
        export.write_text("\n".join(made.iterdump()), "utf-8")
    assert importable.main([str(export)]) == 0
    printed = capsys.readouterr().out
    statements = importable.importable(export.read_text("utf-8"))
    assert max(len(statement.encode()) for statement in statements) < STATEMENT_BYTES_MOST
    with closing(sqlite3.connect(":memory:")) as again:
        again.executescript(printed)
        (row,) = again.execute("SELECT a, b, t, x, r, n, g FROM t").fetchall()
        assert row == ("it's", 7, text, body, 0.5, None, "it'sx")
        assert again.execute("SELECT name FROM sqlite_schema WHERE name = 't_by_r'").fetchall()


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), ("no SQL", "syntax error"), ("\0", "")])
def test_what_is_no_export_is_one_line(
    content: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a missing file, or a file that is no export, `importable.py` prints one line of error."""
    file = tmp_path / "x.sql"
    if content is not None:
        file.write_text(content)
    assert importable.main([str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {file} cannot be read as an export of a database: ")
    assert says in said
    assert len(said.splitlines()) == 1
    assert importable.main([]) == 2


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    """The program `importable.py` needs nothing but Python."""
    (tmp_path / "x.sql").write_text("CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES ('b');")
    command = [sys.executable, "-I", str(ROOT / "ops" / "importable.py"), str(tmp_path / "x.sql")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == """INSERT INTO "t" ("a") VALUES('b');"""

"""`make key`: its command line, the SQL that it writes, and its reactions to wrangler's answers."""

import json
import sys
from pathlib import Path

import pytest

from local import key as command
from local import key_arguments
from local.arguments import UsageError
from local.lock import sole_use
from src.kernel.domain import limits
from src.kernel.domain.keys import OWN_SCOPES, Scope, digest, parse
from tests.support.sqlite_d1 import SqliteD1

ROOT = Path(__file__).resolve().parents[3]
ID, DIGEST = "0123456789abcdef", digest("secret")


def options(*arguments: str) -> key_arguments.KeyOptions:
    return key_arguments.parse(arguments, ROOT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tenant", "Big"], "--tenant: must be 1 to 63 lower-case letters"),
        (["--tenant", "a:b"], "--tenant: must be 1 to 63 lower-case letters"),
        (["--tenant", ""], "--tenant: must be 1 to 63 lower-case letters"),
        (["--scopes", "read,root"], "--scopes: must be some of read,write,admin,operator; 'root' is not one of them"),
        (["--scopes", ""], "--scopes: must be some of read,write,admin"),
        (["--label", ""], "--label: must be 1 to 100 printable characters"),
        (["--label", "a\nb"], "--label: must be 1 to 100 printable characters"),
        (["--label", "x" * 101], "--label: must be 1 to 100 printable characters"),
        (["--expires-in", "0d"], "--expires-in: must be like 10m, 2h, 90d, from 60s to 3650d, not '0d'"),
        (["--expires-in", "3651d"], "--expires-in: must be like 10m, 2h, 90d, from 60s to 3650d"),
        (["--expires-in", "nan"], "--expires-in: must be like 10m, 2h, 90d"),
        (["--env", "fre"], "unknown --env fre; there are direct, free"),
        (["--remote", "--persist-to", "x"], "--persist-to is for local state, --remote for a deployment"),
        (["--expires", "3"], "unknown flag --expires; did you mean --expires-in?"),
        (["key"], "unexpected argument key"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        options(*arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults() -> None:
    found = options()
    assert (found.tenant, found.scopes, found.label, found.valid_ms) == ("local", frozenset(OWN_SCOPES), None, None)
    assert found.persist_to == ROOT / ".wrangler" / "state"
    assert options("--remote").persist_to is None
    assert options("--expires-in", "0.5d").valid_ms == options("--expires-in", "12h").valid_ms == 43_200_000


@pytest.mark.parametrize("label", ["plain", "o'brien", '"); DROP TABLE api_keys; --', "?1 ?2", "文 😀", "\\x41"])
def test_no_label_gets_out_of_its_literal(label: str) -> None:
    database = SqliteD1(now_ms=lambda: 1000)
    found = options("--tenant", "team-7", "--label", label, "--scopes", "write,read", "--expires-in", "1d")
    for statement in command.insertion(found, ID, DIGEST).split(";\n"):
        rows = database.rows(statement)
    expected = {
        "id": ID,
        "tenant": "team-7",
        "scopes": '["read", "write"]',
        "label": label,
        "created_at": 1000,
        "expires_at": 86_401_000,
    }
    assert rows == [expected]
    assert database.rows("SELECT * FROM api_keys") == [{**expected, "digest": DIGEST}]
    database.close()


def test_the_scope_operator_is_given_beside_read_or_write() -> None:
    database = SqliteD1(now_ms=lambda: 1000)
    found = options("--scopes", "read,operator")
    assert found.scopes == {Scope.READ, Scope.OPERATOR}
    for statement in command.insertion(found, ID, DIGEST).split(";\n"):
        rows = database.rows(statement)
    assert [row["scopes"] for row in rows] == ['["read", "operator"]']
    database.close()
    for alone in ("operator", "admin,operator"):
        with pytest.raises(UsageError, match="add read, write, or both"):
            options("--scopes", alone)


class Wrangler:
    """Stands in for wrangler: keeps its command lines, and answers as a test says."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> list[str]:
        self.calls.append(arguments)
        script = f"import sys; print({self.said!r}); sys.exit({self.status})"
        return [sys.executable, "-c", script]


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str], stand_in: Wrangler) -> tuple[int | str | None, Wrangler]:
    monkeypatch.setattr(command, "wrangler", stand_in)
    try:
        return command.main(arguments), stand_in
    except SystemExit as left:
        return left.code, stand_in


INSERTED = json.dumps([{"results": []}, {"results": []}, {"results": [{"id": ID}]}], indent=2)


def test_remote(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, stand_in = run(monkeypatch, ["--remote", "--env", "free"], Wrangler(0, INSERTED))
    printed = capsys.readouterr()
    key = printed.out.removesuffix("\n")
    parts = parse(key)
    assert status == 0
    assert parts is not None
    assert key not in printed.err
    ((*head, sql, place, env),) = stand_in.calls
    assert head == ["d1", "execute", "DB", "--json", "--command"]
    assert (place, env) == ("--remote", "--env=free")
    assert digest(parts.secret).encode().hex() in sql
    assert parts.secret not in sql
    assert parts.secret.encode().hex() not in sql


def test_local_applies_the_migrations_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, stand_in = run(monkeypatch, ["--persist-to", str(tmp_path)], Wrangler(0, INSERTED))
    place = ("--local", "--persist-to", str(tmp_path), "--env=")
    assert status == 0
    told = capsys.readouterr().err
    assert f"Only its digest is stored, in the local database, {tmp_path}." in told
    assert "REQUIRE_KEYS:true" in told
    assert stand_in.calls[0] == ("d1", "migrations", "apply", "DB", *place)
    assert (stand_in.calls[1][:3], stand_in.calls[1][-4:]) == (("d1", "execute", "DB"), place)
    assert f"No `make dev` serves {tmp_path} now." in told
    with sole_use(tmp_path):
        assert run(monkeypatch, ["--persist-to", str(tmp_path)], Wrangler(0, INSERTED))[0] == 0
    assert "No `make dev` serves" not in capsys.readouterr().err


class BusyWrangler(Wrangler):
    """A wrangler that finds the database locked a number of times, and then answers as a test says."""

    def __init__(self, times: int) -> None:
        super().__init__(1, '{"error": {"text": "database is locked: SQLITE_BUSY"}}')
        self.times = times

    def __call__(self, *arguments: str) -> list[str]:
        if self.times == 0:
            self.status, self.said = 0, INSERTED
        self.times -= 1
        return super().__call__(*arguments)


@pytest.mark.parametrize(("times", "status"), [(4, 0), (5, 2)])
def test_a_server_that_writes_at_that_moment_does_not_matter(
    times: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, stand_in = run(monkeypatch, ["--remote"], BusyWrangler(times))
    printed = capsys.readouterr()
    assert left == status
    assert (parse(printed.out.strip()) is not None) == (status == 0)
    assert ("SQLITE_BUSY" in printed.err) == (status != 0)
    assert (len(stand_in.calls), len(set(stand_in.calls))) == (5, 1)


@pytest.mark.parametrize(
    ("status", "said", "shown"),
    [
        (1, '{"error": {"text": "no such table: api_keys: SQLITE_ERROR"}}', "run `make deploy` first"),
        (1, "table api_keys has no column named label: SQLITE_ERROR", "older than this checkout: run `make deploy`"),
        (1, "Not logged in.", "npx wrangler login"),
        (0, "", "wrangler's output has no key"),
        (0, '[\n{"results": []}]', f"has {limits.KEYS_MOST} keys already"),
    ],
)
def test_what_goes_wrong_is_said(
    status: int, said: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, _ = run(monkeypatch, ["--remote"], Wrangler(status, said))
    printed = capsys.readouterr()
    assert (left, printed.out) == (2, "")
    assert printed.err.startswith("error: ")
    assert shown in printed.err

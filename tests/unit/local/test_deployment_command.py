"""The commands around a deployment, as a user runs them, also after a first deployment that failed."""

import io
import re
import sys
from pathlib import Path

import pytest

from local import deployment, key
from local.arguments import UsageError
from local.node import ROOT
from local.remote import secret_values
from local.remote.account import needs
from local.remote.cloud import StepFailed
from local.remote.deploy import Shape, deploy
from local.remote.deploy_check import DeploymentReply, Web
from local.remote.fixes import FIXES
from src.kernel.domain.keys import parse
from tests.support.cloud_account import CloudAccount
from tests.support.deployed import Internet, wrong

pytestmark = pytest.mark.slow  # processes

SECRET = "sk-a-secret-that-nobody-may-see"  # noqa: S105 - of no server


@pytest.fixture(autouse=True)
def _no_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("ONCEOVER_KEY", raising=False)


class Operator:
    """Runs commands as a user does, with a stand-in account whose database is a real SQLite."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.file = folder / "account.json"
        self.account = CloudAccount(self.file, with_sqlite=True)
        self.internet = Internet(self.account)
        patch.setattr(deployment, "run", self.account)
        patch.setattr(deployment, "WEB", self.internet.web)
        patch.setattr(deployment, "doctor", lambda *_: None)
        patch.setenv("STAND_IN_SQLITE", "1")
        program = [sys.executable, "-m", "tests.support.cloud_account", str(self.file)]
        patch.setattr(key, "wrangler", lambda *arguments: [*program, *arguments])

    def make(self, target: str, env: str = "", *arguments: str) -> int | str | None:
        try:
            return deployment.main([target, f"--env={env}", *arguments])
        except SystemExit as left:
            return left.code

    def key(self, *arguments: str) -> int | str | None:
        try:
            return key.main([*arguments])
        except SystemExit as left:
            return left.code


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(tmp_path, monkeypatch)


STEPS = ("npx wrangler login", "make deploy", 'make key ARGS="--remote"')


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md", "docs/guide.md", "docs/guide.zh-CN.md"])
def test_the_documents_have_the_three_steps(document: str) -> None:
    assert "\n".join(STEPS) in (ROOT / document).read_text("utf-8")


@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_the_three_steps_make_a_deployment_with_a_key(
    env: str, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.account.state["loggedIn"] = False
    assert operator.make("deploy", env) == 1
    assert "fix (not-logged-in): Run `npx wrangler login`" in capsys.readouterr().err
    operator.account("login")
    assert operator.make("deploy", env) == 0
    printed = capsys.readouterr().out
    flags = f"--remote --env {env}" if env else "--remote"
    assert f'make key ARGS="{flags}"' in printed
    assert wrong(operator.account.state, env) == []
    assert operator.key(*flags.split()) == 0
    made = capsys.readouterr()
    assert parse(made.out.strip()) is not None, made.err


@pytest.mark.parametrize(
    ("command", "said", "fix"),
    [
        ("d1 execute", "Couldn't find a D1 DB named 'onceover' (bound as 'DB') in the API.", "no-database"),
        ("d1 execute", "necessary to set a CLOUDFLARE_API_TOKEN environment variable", "not-logged-in"),
        ("d1 execute", "Authentication error [code: 10000]", "no-permission"),
    ],
)
def test_a_key_that_cannot_be_written_has_its_fix(
    command: str, said: str, fix: str, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.account.refuse(command, said)
    assert operator.key("--remote") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"fix ({fix}): {FIXES[fix].text}" in printed.err


def values(operator: Operator) -> dict[str, str]:
    return dict(operator.account.state["workers"]["onceover"].get("values", {}))


def test_secrets_are_asked_for(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.make("deploy")
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return SECRET if question.startswith("AI_API_KEY") else ""

    operator.patch.setattr("getpass.getpass", ask)
    operator.patch.setattr("sys.stdin", Terminal())
    assert operator.make("secrets") == 0
    assert values(operator) == {"AI_API_KEY": SECRET}
    assert operator.make("secrets") == 0
    assert ["not set" in question for question in questions] == [True, True, False, True]
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    assert not [call for call in operator.account.state["calls"] if SECRET in call]


class Terminal(io.StringIO):
    """Standard input that counts as a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_secrets_come_from_a_file(
    env: str, operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.make("deploy", env)
    file = tmp_path / "vars"
    file.write_text(f"# mine\nAI_PROVIDER=openai\nAI_API_KEY='{SECRET}'\nWEBHOOK_KEY=\n")
    assert operator.make("secrets", env, "--file", str(file)) == 0
    assert values(operator) == {"AI_API_KEY": SECRET}
    printed = capsys.readouterr()
    assert "AI_PROVIDER is not a secret" in printed.out
    assert SECRET not in printed.out + printed.err


def test_a_secret_is_generated_once(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.make("deploy")
    assert operator.make("secrets", "", "--generate", "WEBHOOK_KEY") == 0
    (value,) = values(operator).values()
    assert len(value) >= 32
    assert operator.make("secrets", "", "--generate", "WEBHOOK_KEY") == 2
    assert values(operator) == {"WEBHOOK_KEY": value}
    printed = capsys.readouterr()
    assert value not in printed.out + printed.err


BAD_VALUES = [
    ("WEBHOOK_KEY", "only-31-characters-of-the-needed", "at least 32 characters"),
    ("WEBHOOK_KEY", "spaces are not taken in this value of many characters", "without spaces"),
    ("WEBHOOK_KEY", "Zeichen-die-kein-ASCII-sind-äöü-und-genug-davon", "printable ASCII"),
    ("AI_API_KEY", "sk with a space", "without spaces"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD_VALUES)
@pytest.mark.parametrize("way", ["file", "terminal"])
def test_a_value_that_the_worker_refuses_is_not_set(
    way: str, name: str, value: str, said: str, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make secrets` does not set a value with which the Worker would answer every request with 500."""
    operator.make("deploy")
    value = value[:31] if "31" in value else value
    other = {"AI_API_KEY": SECRET, "WEBHOOK_KEY": "w" * 32}
    both = {**other, name: value}
    if way == "file":
        operator.patch.setattr("sys.stdin", io.StringIO("".join(f"{one}='{both[one]}'\n" for one in both)))
        assert operator.make("secrets", "", "--file", "-") == 2
    else:
        operator.patch.setattr("sys.stdin", Terminal())
        operator.patch.setattr("getpass.getpass", lambda question: both[question.partition(",")[0]])
        assert operator.make("secrets") == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert name in printed.err
    assert values(operator) == {}
    assert not [shown for shown in both.values() if shown in printed.out + printed.err]


def test_a_secret_is_rotated(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.make("deploy")
    assert operator.make("secrets", "", "--rotate", "WEBHOOK_KEY") == 2
    assert "--generate WEBHOOK_KEY sets it" in capsys.readouterr().err
    operator.make("secrets", "", "--generate", "WEBHOOK_KEY")
    (before,) = values(operator).values()
    assert operator.make("secrets", "", "--rotate", "WEBHOOK_KEY") == 0
    (after,) = values(operator).values()
    assert (len(after) >= 32, after != before) == (True, True)
    printed = capsys.readouterr()
    assert after not in printed.out + printed.err
    assert "onceover webhooks rotate ID" in printed.out
    assert operator.make("secrets", "", "--generate", "WEBHOOK_KEY") == 2
    assert "--rotate WEBHOOK_KEY replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said", "fix"),
    [
        (
            "secret list",
            'Worker "onceover" not found.\n\nIf this is a new Worker, run `wrangler deploy` first',
            "no-worker",
        ),
        ("secret put", "Your latest version of your Worker isn't currently deployed [code: 10215]", "not-latest"),
    ],
)
def test_secrets_that_are_refused(
    command: str, said: str, fix: str, operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.make("deploy")
    operator.account.refuse(command, f"{said} {SECRET}" if command == "secret put" else said)
    (tmp_path / "vars").write_text(f"AI_API_KEY='{SECRET}'\n")
    assert operator.make("secrets", "", "--file", str(tmp_path / "vars")) == 1
    printed = capsys.readouterr()
    assert f"fix ({fix}): " in printed.err
    assert SECRET not in printed.out + printed.err


def test_a_file_with_a_broken_line_sets_nothing(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("AI_API_KEY=one\ntwo\n")
    with pytest.raises(UsageError, match=r"line 2 of .* must be NAME=value"):
        secret_values.from_file(str(tmp_path / "vars"))


def test_the_way_back(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert operator.make("version") == 0
    assert capsys.readouterr().out == "\n"
    operator.make("deploy")
    capsys.readouterr()
    operator.make("version")
    before = capsys.readouterr().out.strip()
    operator.make("deploy")
    live = operator.account.state["workers"]["onceover"]
    assert live["live"] != before
    for _ in range(2):
        assert operator.make("rollback", "", before) == 0
        assert live["live"] == before
    rollbacks = [call for call in operator.account.state["calls"] if call.startswith("rollback")]
    assert len(rollbacks) == 1
    assert operator.make("rollback", "", "") == 0


def test_a_failed_deployment_prints_the_way_back(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.make("deploy", "free")
    operator.make("deploy", "free")
    (command,) = re.findall(r"to roll back to the previous one: npx wrangler (.+)", capsys.readouterr().out)
    operator.account(*command.split())
    assert operator.account.state["workers"]["onceover"]["live"] == "version-1"


NOT_FOUND = DeploymentReply(404, {}, "error code: 1042")


def nowhere() -> Web:
    """A network in which nothing answers, and whose clock moves while the code pauses."""
    passed: list[float] = []
    return Web(lambda _url: NOT_FOUND, lambda: sum(passed), passed.append)


@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_a_first_deployment_that_does_not_answer_names_no_version_before(env: str, tmp_path: Path) -> None:
    """A failed first deployment does not tell the user to go back, since no earlier version exists."""
    account = CloudAccount(tmp_path / "account.json")
    for fix, back in (("first-not-verified", 0), ("not-verified", 1)):
        lines: list[str] = []
        with pytest.raises(StepFailed) as failed:
            deploy(account, nowhere(), needs(ROOT, env), Shape(), lines.append)
        assert failed.value.fix is FIXES[fix]
        assert sum("to roll back to the previous one: npx wrangler rollback" in line for line in lines) == back


def test_every_command_that_a_fix_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    marked = [mark for fix in FIXES.values() for mark in re.findall(r"`([^`]+)`", fix.text)]
    assert {mark.split()[1] for mark in marked if mark.startswith("make ")} <= targets
    assert [mark for mark in marked if mark.startswith("sh ") and not (ROOT / mark.split()[1]).is_file()] == []
    pages = {page for fix in FIXES.values() for page in re.findall(r"docs/[a-z-]+\.md", fix.text)}
    assert [page for page in pages if not (ROOT / page).is_file()] == []

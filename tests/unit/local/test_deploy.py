"""`make deploy` against a stand-in account: from every state, stopped at every call, and with every refusal."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.arguments import UsageError
from local.node import ROOT
from local.remote.account import Needs, needs
from local.remote.cloud import StepFailed
from local.remote.deploy import _BUCKETS, WITHOUT_R2, Shape, deploy
from local.remote.deploy_check import GOOD_IN_A_ROW, DeploymentReply, verify
from local.remote.fixes import FIXES
from tests.support.cloud_account import ID, CloudAccount, Killed, When
from tests.support.deployed import MIGRATIONS, QUEUES, Internet, ready, wrong

ENVIRONMENTS = ("", "free", "direct")


@pytest.fixture(autouse=True)
def _no_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)


def run(account: CloudAccount, env: str, *, shape: Shape | None = None, internet: Internet | None = None) -> str:
    lines: list[str] = []
    web = (internet or Internet(account)).web
    deploy(account, web, needs(ROOT, env), shape or Shape(), lines.append)
    return "\n".join(lines)


def worker(env: str, versions: int = 1) -> dict[str, Any]:
    queues = ["queue AI_DLQ", "queue AI_QUEUE"] if env == "" else []
    objects = ["object AI_PROCESSOR", "object BATCH_COORDINATOR"] if env != "direct" else []
    names = [f"version-{number + 1}" for number in range(versions)]
    return {
        "versions": names,
        "live": names[-1],
        "bindings": ["bucket onceover-files", "d1 onceover", *objects, *queues],
        "objects": ["AIProcessor", "BatchCoordinator"] if objects else [],
        "secrets": ["AI_API_KEY"],
        "crons": ["* * * * *"],
    }


def deployed(env: str, applied: int = len(MIGRATIONS)) -> dict[str, Any]:
    return {
        "databases": {"onceover": MIGRATIONS[:applied]},
        "queues": {name: ["onceover"] for name in QUEUES} if env == "" else {},
        "buckets": {"onceover-files": []},
        "workers": {"onceover": worker(env)},
    }


STARTS: dict[str, dict[str, Any]] = {
    "nothing is there": {},
    "others' things are there": {
        "databases": {"shop": [], "onceover-2": []},
        "queues": {"orders": ["shop"]},
        "workers": {"shop": worker("free")},
    },
    "the database is there": {"databases": {"onceover": []}},
    "one queue is there": {"queues": {QUEUES[0]: []}},
    "both queues exist": {"queues": {name: [] for name in QUEUES}},
    "the newest migration is not applied": {"databases": {"onceover": MIGRATIONS[:-1]}},
    "all but the Worker is there": {"databases": {"onceover": MIGRATIONS}, "queues": {name: [] for name in QUEUES}},
    "the bucket is there": {"buckets": {"onceover-files": []}},
    "R2 is not enabled": {"buckets": None},
    "R2 is not enabled any more": {**deployed("free"), "buckets": None},
    "the top level is deployed": deployed(""),
    "an older top level is deployed": deployed("", -1),
    "free is deployed": deployed("free"),
    "direct is deployed": deployed("direct"),
    "a queue was deleted by hand": {**deployed(""), "queues": {QUEUES[0]: ["onceover"]}},
}


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("start", STARTS)
def test_every_start_ends_in_the_right_state(start: str, env: str, tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state.update(json.loads(json.dumps(STARTS[start])))
    before = json.loads(json.dumps(account.state))
    said = run(account, env)
    assert wrong(account.state, env) == []
    assert said.endswith("Deployed: https://onceover.example.workers.dev")
    created, calls = list(account.state["created"]), len(account.state["calls"])
    run(account, env)
    assert not [call for call in account.state["calls"][calls:] if " create " in call]
    assert wrong(account.state, env) == []
    assert account.state["created"] == created
    for place in ("databases", "queues", "workers"):
        for name, value in before[place].items():
            assert name in account.state[place]
            if name not in {"onceover", *QUEUES}:
                assert account.state[place][name] == value
    if before["workers"].get("onceover"):
        now = account.state["workers"]["onceover"]
        assert now["secrets"] == ["AI_API_KEY"]
        assert set(before["workers"]["onceover"]["objects"]) <= set(now["objects"])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_database_from_before_the_first_migration_is_refused(tmp_path: Path, dry_run: bool) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state.update(deployed(""), databases={"onceover": ["0001_tasks.sql", "0018_operators.sql"]})
    before = json.loads(json.dumps({**account.state, "calls": []}))
    with pytest.raises(UsageError) as caught:
        run(account, "", shape=Shape(dry_run))
    assert str(caught.value) == (
        "the deployed database onceover is from before migrations/0001_initial.sql and cannot be upgraded: delete it "
        "with `npx wrangler d1 delete onceover`, then run `make deploy` again"
    )
    assert {**account.state, "calls": []} == before


def moments() -> list[tuple[str, int, When]]:
    calls = {"": 12, "free": 8, "direct": 8}
    ends: tuple[When, ...] = ("before", "half", "after")
    return [(env, call + 1, when) for env in ENVIRONMENTS for call in range(calls[env]) for when in ends]


@pytest.mark.parametrize(("env", "call", "when"), moments())
def test_a_run_that_was_stopped_goes_on(env: str, call: int, when: When, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    try:
        run(CloudAccount(file, (call, when)), env)
    except Killed:
        pass
    else:
        assert when == "half", "only the migrations and the deployment have a middle"
    account = CloudAccount(file)
    run(account, env)
    assert wrong(account.state, env) == []


REFUSALS = [
    pytest.param(*(entry[name] for name in ("command", "said", "fix")), id=f"{number} {entry['fix']}")
    for number, entry in enumerate(tomllib.loads((ROOT / "tests/support/refusals.toml").read_text())["refusal"], 1)
]


@pytest.mark.parametrize(("command", "said", "fix"), REFUSALS)
def test_every_refusal_has_its_fix(command: str, said: str, fix: str, tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.refuse(command, said)
    with pytest.raises(StepFailed) as failed:
        run(account, "")
    assert failed.value.fix is FIXES[fix]
    assert said.splitlines()[0][:60] in str(failed.value)
    assert not account.state["workers"]
    account.state["refuse"] = []
    run(account, "")
    assert wrong(account.state, "") == []


def test_every_fix_is_provoked() -> None:
    elsewhere = {
        *(
            "buckets-off",
            "name-taken",
            "not-verified",
            "first-not-verified",
            "queue-taken",
            "no-database",
            "no-worker",
            "not-latest",
        )
    }
    assert {str(refusal.values[2]) for refusal in REFUSALS} | elsewhere == set(FIXES)


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_account_without_r2_deploys_without_the_bucket(env: str, dry_run: bool, tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state["buckets"] = None
    said = run(account, env, shape=Shape(dry_run))
    assert "R2 is not enabled in this account" in said
    assert f"npx wrangler deploy --env={env} --config={WITHOUT_R2}" in said
    assert not (ROOT / WITHOUT_R2).exists()
    if dry_run:
        return
    assert wrong(account.state, env) == []
    account.state["buckets"] = {}
    assert "Creating the bucket onceover-files" in run(account, env)
    assert wrong(account.state, env) == []
    assert account.state["created"].count("bucket onceover-files") == 1


def test_the_configuration_without_r2_lacks_only_the_bucket() -> None:
    text = (ROOT / "wrangler.toml").read_text("utf-8")
    whole, without = tomllib.loads(text), tomllib.loads(_BUCKETS.sub("", text))
    for part in (whole, *whole["env"].values()):
        assert part.pop("r2_buckets") == [{"binding": "BLOBS", "bucket_name": "onceover-files"}]
    assert without == whole


def test_another_workers_queue(tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state["queues"] = {QUEUES[0]: ["shop"], QUEUES[1]: []}
    with pytest.raises(StepFailed) as failed:
        run(account, "")
    assert failed.value.fix is FIXES["queue-taken"]
    account.state["queues"][QUEUES[0]] = []
    run(account, "")
    assert wrong(account.state, "") == []


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state["workers"] = {"onceover": {**worker("free"), "objects": []}}
    with pytest.raises(StepFailed) as failed:
        run(account, "free")
    assert failed.value.fix is FIXES["name-taken"]
    assert account.state["workers"]["onceover"]["versions"] == ["version-1"]
    assert account.state["created"] == []
    run(account, "free", shape=Shape(replace=True))
    assert wrong(account.state, "free") == []


@pytest.mark.parametrize(
    ("accounts", "named", "fix"),
    [
        ([{"name": "A", "id": "a" * 32}, {"name": "B", "id": ID}], None, "several-accounts"),
        ([{"name": "A", "id": "a" * 32}, {"name": "B", "id": ID}], ID, None),
        ([{"name": "A", "id": "a" * 32}], ID, "wrong-account"),
        ([], None, "wrong-account"),
        ([], ID, None),
    ],
)
def test_which_account(
    accounts: list[dict[str, str]], named: str | None, fix: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state["accounts"] = accounts
    if named:
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", named)
    if fix is None:
        assert ID in run(account, "")
        return
    with pytest.raises(StepFailed) as failed:
        run(account, "")
    assert failed.value.fix is FIXES[fix]
    assert len(account.state["calls"]) == 1


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "CI", None])
def test_a_public_log_has_no_names(variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("CI", raising=False)
    if variable:
        monkeypatch.setenv(variable, "true")
    account = CloudAccount(tmp_path / "account.json")
    account.state["accounts"] = [{"name": "me@example.com's Account", "id": ID}]
    said = run(account, "free", shape=Shape(dry_run=True))
    assert ID in said
    assert ("me@example.com" in said) is (variable is None)
    account.state["accounts"].append({"name": "you@example.com's Account", "id": "b" * 32})
    with pytest.raises(StepFailed) as failed:
        run(account, "free")
    assert ("you@example.com" in str(failed.value)) is (variable is None)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_dry_run_changes_nothing(env: str, tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    said = run(account, env, shape=Shape(dry_run=True))
    assert f"npx wrangler d1 create onceover --env={env}" in said
    assert f"npx wrangler d1 migrations apply DB --remote --env={env}" in said
    assert f"npx wrangler deploy --env={env}" in said
    assert said.count("npx wrangler queues create") == (2 if env == "" else 0)
    assert account.state["calls"][-1] == f"deploy --dry-run --env={env}"
    state = CloudAccount(tmp_path / "account.json").state
    assert (state["databases"], state["queues"], state["workers"], state["created"]) == ({}, {}, {}, [])
    assert state["buckets"] == {}


NO_CERTIFICATE = DeploymentReply(0, {}, "SSL: SSLV3_ALERT_HANDSHAKE_FAILURE")
NOT_FOUND = DeploymentReply(404, {}, "error code: 1042")
NO_SCHEMA = DeploymentReply(503, {"status": "unhealthy", "detail": "run `make deploy`"}, "")
BAD_VARIABLES = DeploymentReply(500, {"code": "bad_configuration", "detail": "AI_BASE_URL is missing"}, "")


def older(wanted: Needs) -> DeploymentReply:
    return ready("older", wanted)


@pytest.mark.parametrize("first", [lambda _: NO_CERTIFICATE, lambda _: NOT_FOUND, lambda _: NO_SCHEMA, older])
def test_a_new_address_is_waited_for(first: Callable[[Needs], DeploymentReply], tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    internet = Internet(account, [first(needs(ROOT, "free"))] * 3)
    said = run(account, "free", internet=internet)
    assert said.count("not yet: ") == 1
    assert internet.seconds == 9 + 3 * (GOOD_IN_A_ROW - 1)


def test_an_older_version_does_not_pass_for_the_new_one(tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    wanted = needs(ROOT, "free")
    good = DeploymentReply(200, {"status": "healthy", "queueCheck": dict(wanted.queue_check)}, "")
    run(account, "free", internet=Internet(account, [good, good, NOT_FOUND, good, NO_SCHEMA]))
    unsettled = Internet(account, [*[good] * (GOOD_IN_A_ROW - 1), BAD_VARIABLES] * 50)
    with pytest.raises(StepFailed) as failed:
        run(account, "free", internet=unsettled)
    assert failed.value.fix is FIXES["not-verified"]
    assert verify(Internet(account, [good, BAD_VARIABLES]).web, "https://x.test", wanted, print, 1) is None


@pytest.mark.parametrize(
    ("reply", "shown"), [(NO_SCHEMA, "make deploy"), (BAD_VARIABLES, "AI_BASE_URL"), (NOT_FOUND, "1042")]
)
def test_a_deployment_that_never_answers_fails(reply: DeploymentReply, shown: str, tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    account.state.update(json.loads(json.dumps(deployed("free"))))
    lines: list[str] = []
    with pytest.raises(StepFailed) as failed:
        deploy(account, Internet(account, [reply] * 99).web, needs(ROOT, "free"), Shape(), lines.append)
    assert failed.value.fix is FIXES["not-verified"]
    assert shown in str(failed.value)
    assert "    to roll back to the previous one: npx wrangler rollback version-1 --env=free" in lines


def test_a_model_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    account = CloudAccount(tmp_path / "account.json")
    internet = Internet(account)
    internet.model = DeploymentReply(200, {"status": "unavailable", "detail": "401 from the provider"}, "")
    said = run(account, "", internet=internet)
    assert "warning: " in said
    assert "401 from the provider" in said
    assert "`make secrets`" in said

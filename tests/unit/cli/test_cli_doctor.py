"""`onceover doctor` against broken folders, deployments and accounts, each with one fault, and against sound ones."""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local import page_libraries
from onceover_cli.commands import top
from onceover_cli.connection import ApiClient, place
from onceover_cli.doctor import account, deployment, folder
from onceover_cli.doctor.account import Said
from onceover_cli.doctor.failures import HELP
from onceover_cli.doctor.findings import Check, Level
from onceover_cli.doctor.sources import MARKDOWN, PACKAGES, PYTHON_DATE
from onceover_cli.doctor.trial import trial
from onceover_cli.doctor.variables import KNOWN
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.settings import Reading, load
from tests.support.dev_server import ROOT
from tests.support.fake_api import LOST, TASK_ID, Answer, Asked, FakeApi, failed, problem, task
from tests.unit.cli.test_cli_commands import STATUS

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
type Expected = tuple[str, Level, str, str]
type Change = Callable[[Path], object]
PLACEHOLDER = 'database_id = "00000000-0000-0000-0000-000000000000"'


def complaints(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.level in {Level.FAULT, Level.WARNING}]


def the_one(checks: Iterable[Check], check_id: str, level: Level, evidence: str, fix: str) -> None:
    """Assert that exactly this fault was found, with evidence and fix, in a folder by environment."""
    found = complaints(checks)
    assert found
    assert {check.id for check in found} == {check_id}, found
    assert {check.level for check in found} == {level}
    assert all(evidence in check.evidence for check in found), found
    assert all(fix in check.fix for check in found), found


def fault(check_id: str, evidence: str, fix: str) -> Expected:
    return check_id, Level.FAULT, evidence, fix


def warning(check_id: str, evidence: str, fix: str) -> Expected:
    return check_id, Level.WARNING, evidence, fix


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a folder with those parts of a clone that `doctor` reads, with a sound configuration."""
    text = (ROOT / "wrangler.toml").read_text("utf-8")
    (tmp_path / "wrangler.toml").write_text("\n".join(line for line in text.split("\n") if PLACEHOLDER not in line))
    for package in PACKAGES:
        (tmp_path / "src" / package).mkdir(parents=True)
        (tmp_path / "src" / package / "module.py").touch()
    (tmp_path / "src" / "entry.py").touch()
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").touch()
    markdown = tmp_path / "public" / "vendor" / "markdown"
    markdown.mkdir(parents=True)
    for name in MARKDOWN:
        (markdown / name).touch()
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    return tmp_path


def replaced(old: str, new: str = "", *, times: int = -1) -> Change:
    def change(clone: Path) -> None:
        path = clone / "wrangler.toml"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, times))

    return change


def without(name: str) -> Change:
    def change(clone: Path) -> None:
        path = clone / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def variable(line: str) -> Change:
    return replaced(VARS, f"{VARS}{line}\n")


def provider(line: str) -> Change:
    return replaced(VARS, f"[vars]\n{line}\n")


def secrets(text: str) -> Change:
    def change(clone: Path) -> None:
        (clone / ".dev.vars").write_text(text)
        (clone / ".dev.vars").chmod(0o600)

    return change


PRODUCER = '[[queues.producers]]\nbinding = "AI_QUEUE"\nqueue = "ai-processing-queue"\n'
DEAD_LETTERS = '[[queues.producers]]\nbinding = "AI_DLQ"\nqueue = "ai-processing-dlq"\n'
DEAD_CONSUMER = '[[queues.consumers]]\nqueue = "ai-processing-dlq"\n'
COORDINATOR = '[[durable_objects.bindings]]\nname = "BATCH_COORDINATOR"\nclass_name = "BatchCoordinator"\n'
VARS = '[vars]\nAI_PROVIDER = "workers-ai"\n'


def landed(clone: Path, *names: str) -> Path:
    folder = clone / "migrations"
    with (folder / "LANDED").open("a") as lines:
        for name in names:
            (folder / name).write_text("")
            lines.write(f"{hashlib.sha256(b'').hexdigest()}  {name}\n")
    return folder


BROKEN_FOLDERS: dict[str, tuple[Change, Expected]] = {
    "no wrangler.toml": (without("wrangler.toml"), fault("configuration", "there is no wrangler.toml", "name a clone")),
    "not TOML": (replaced("[triggers]", "[triggers"), fault("configuration", "cannot be read", "correct that line")),
    "no main": (without("src/entry.py"), fault("configuration", "there is no such file", 'main = "src/entry.py"')),
    "no Python": (
        replaced('"python_workers", '),
        fault("configuration", "python_workers is missing", "python_workers"),
    ),
    "no objects": (
        without("src/objects"),
        fault("configuration", "src/objects/ is missing", "git checkout -- src/objects"),
    ),
    "an older Python": (
        replaced(f'"{PYTHON_DATE}"', '"2026-09-07"'),
        fault("configuration", "an older Python runs", "python_workers_314"),
    ),
    "no date": (
        replaced(f'compatibility_date = "{PYTHON_DATE}"'),
        fault("configuration", "compatibility_date is missing", f'"{PYTHON_DATE}"'),
    ),
    "no dashboard": (
        replaced("[assets]", "[assetz]"),
        fault("assets", "[assets] is missing", '[assets] directory = "./public"'),
    ),
    "no files of the dashboard": (
        without("public/index.html"),
        fault("assets", "has no index.html", "git checkout -- public"),
    ),
    "no libraries for Markdown": (
        without("public/vendor/markdown/purify.js"),
        warning("assets", "public/vendor/markdown lacks purify.js", "make install"),
    ),
    "files that hide the API": (
        replaced('"/api/*", '),
        fault("assets", "run_worker_first lacks /api/*", "run_worker_first"),
    ),
    "no cron": (replaced('"* * * * *"'), fault("cron", "no cron trigger", 'crons = ["* * * * *"]')),
    "rare cron": (replaced("* * * * *", "0 * * * *"), fault("cron", "every minute", "* * * * *")),
    "no logs": (replaced("enabled = true", "enabled = false"), warning("logs", "not enabled", "enabled = true")),
    "no queue": (
        replaced(PRODUCER),
        fault("queues", "AI_QUEUE binding is missing", "queues create ai-processing-queue"),
    ),
    "no dead letters": (
        replaced(DEAD_LETTERS),
        fault("queues", "AI_DLQ binding is missing", "queues create ai-processing-dlq"),
    ),
    "another queue": (
        replaced(PRODUCER, PRODUCER.replace("ai-processing-queue", "mine")),
        fault("queues", "AI_QUEUE leads to mine", 'queue = "ai-processing-queue"'),
    ),
    "no consumer": (
        replaced('[[queues.consumers]]\nqueue = "ai-processing-queue"', '[[queues.consumers]]\nqueue = "other"'),
        fault("queues", "ai-processing-queue has no consumer", "[[queues.consumers]]"),
    ),
    "dead letters that nobody reads": (
        replaced(DEAD_CONSUMER, '[[queues.consumers]]\nqueue = "other"\n'),
        fault("queues", "ai-processing-dlq has no consumer", "ai-processing-dlq"),
    ),
    "whole batches": (
        replaced("max_batch_size = 1\n", "max_batch_size = 10\n", times=1),
        fault("queues", "max_batch_size is 10", "max_batch_size = 1"),
    ),
    "no way to the dead letters": (
        replaced('dead_letter_queue = "ai-processing-dlq"\n'),
        fault("queues", "dead_letter_queue is None", 'dead_letter_queue = "ai-processing-dlq"'),
    ),
    "no coordinator": (
        replaced(COORDINATOR),
        fault("objects", "BATCH_COORDINATOR binding is missing", "BatchCoordinator"),
    ),
    "the seed's new_classes": (
        replaced("new_sqlite_classes", "new_classes"),
        fault("objects", "new_classes cannot be deployed on the free plan", "new_sqlite_classes"),
    ),
    "a class that is not declared": (
        replaced('["AIProcessor", "BatchCoordinator"]', '["AIProcessor"]'),
        fault("objects", "does not declare", "BatchCoordinator"),
    ),
    "no database": (
        replaced('binding = "DB"', 'binding = "D1"'),
        fault("database", "DB binding is missing", 'binding = "DB"'),
    ),
    "an id that is none": (
        replaced('binding = "DB"', 'binding = "DB"\ndatabase_id = "mine"'),
        fault("database", "database_id is not an id", "npx wrangler d1 list"),
    ),
    "no migrations": (without("migrations"), fault("migrations", "there are no migrations", "migrations_dir")),
    "two migrations with one number": (
        lambda clone: (landed(clone, "0003_third.sql") / "0003_mine.sql").write_text(""),
        fault("migrations", "two with the number 0003", "next number"),
    ),
    "the last migration is gone": (
        lambda clone: max(landed(clone, "0011_last.sql").glob("*.sql")).unlink(),
        fault("migrations", "migrations/ lacks", "git checkout -- migrations"),
    ),
    "a migration in between is gone": (
        lambda clone: (landed(clone, "0010_between.sql", "0011_last.sql") / "0010_between.sql").unlink(),
        fault("migrations", "migrations/ lacks 0010_between.sql", "git checkout -- migrations"),
    ),
    "Workers AI unbound": (
        replaced('[ai]\nbinding = "AI"'),
        fault("ai", "AI binding is missing", '[ai] binding = "AI"'),
    ),
    "a server without its URL": (
        provider('AI_PROVIDER = "openai"'),
        fault("variables", "AI_BASE_URL is not set", "AI_BASE_URL"),
    ),
    "an unknown provider": (
        provider('AI_PROVIDER = "gpt"'),
        fault("variables", "AI_PROVIDER has an invalid value", "workers-ai, openai, demo"),
    ),
    "a misspelt variable": (
        variable('AI_MODEl = "m"'),
        warning("variables", "nothing reads AI_MODEl", "did you mean AI_MODEL?"),
    ),
    "Workers AI through a gateway": (
        variable('AI_GATEWAY = "mine"'),
        warning("gateway", "own retries would be calls outside the bill", "turn off Retry Requests"),
    ),
    "a server behind a gateway": (
        secrets("AI_PROVIDER=openai\nAI_BASE_URL=https://gateway.ai.cloudflare.com/v1/a/b/openai\n"),
        warning("gateway", "own retries would be calls outside the bill", "turn off Retry Requests"),
    ),
    "a lease that is too short": (
        variable("LEASE_SECONDS = 60"),
        fault("variables", "LEASE_SECONDS is not above AI_TIMEOUT_SECONDS", "LEASE_SECONDS higher"),
    ),
    "too many calls": (
        variable("AI_CONCURRENCY = 20"),
        fault("variables", "AI_CONCURRENCY has an invalid value", "from 1 to 6"),
    ),
    "a secret for everybody": (
        variable('AI_API_KEY = "sk-canary"'),
        fault("secrets", "AI_API_KEY is in wrangler.toml", "npx wrangler secret put AI_API_KEY"),
    ),
    "open to everybody": (variable("REQUIRE_KEYS = false"), fault("keys", "answers anyone", "remove REQUIRE_KEYS")),
    "a line of .dev.vars that is none": (
        secrets("AI_PROVIDER=demo\nAI_API_KEY sk-canary\n"),
        fault("dev-vars", "line 2 of .dev.vars sets nothing", "NAME=value"),
    ),
    "a key of webhooks that is too short": (
        secrets("WEBHOOK_KEY=a-canary-of-only-31-characters-\n"),
        fault("variables", "WEBHOOK_KEY has an invalid value", "32 characters at least"),
    ),
    "a key with a space": (
        secrets("AI_PROVIDER=demo\nAI_API_KEY='sk canary'\n"),
        fault("variables", "AI_API_KEY has an invalid value", "without spaces"),
    ),
    "Workers AI on this machine": (
        secrets("AI_PROVIDER=workers-ai\n"),
        fault("variables", "workers-ai needs an account", "AI_PROVIDER=openai"),
    ),
}


@pytest.mark.parametrize("name", BROKEN_FOLDERS)
def test_a_broken_folder_is_named_with_its_fix(name: str, clone: Path):
    change, expected = BROKEN_FOLDERS[name]
    change(clone)
    checks = list(folder.examine(clone, None))
    the_one(checks, *expected)
    assert not any("canary" in check.evidence + check.fix for check in checks)


@pytest.mark.parametrize("env", [None, "", "free", "direct"])
def test_a_sound_folder_has_nothing_to_mend(env: str | None, clone: Path):
    """In each environment `doctor` finds no fault in the project's own wrangler.toml with a sound .dev.vars."""
    secrets("# ours\nAI_PROVIDER=openai\nAI_BASE_URL=http://127.0.0.1:11434/v1\nexport AI_MODEL=llama3.2\n")(clone)
    checks = list(folder.examine(clone, env))
    assert complaints(checks) == []
    assert {"configuration", "cron", "queues", "objects", "variables", "database", "migrations"} <= {
        one.id for one in checks
    }


def test_the_projects_own_folder_is_sound():
    assert complaints(folder.examine(ROOT, None)) == []


def test_the_packages_are_the_workers():
    assert set(PACKAGES) == {path.parent.name for path in (ROOT / "src").glob("*/*.py")}
    assert set(MARKDOWN) == {name for name in page_libraries.FILES if name.endswith(".js")}


def test_every_variable_of_the_worker_is_known():
    """`doctor` knows all variables that the Worker reads, except those of features under construction."""
    reading = Reading(lambda _name: None)
    load(reading)
    assert reading.asked <= KNOWN
    assert KNOWN - reading.asked <= {"WEBHOOK_KEY", "WEBHOOK_LOOPBACK"}


OPERATOR = {
    **STATUS,
    "usage": None,
    "lastSweepAt": "2026-11-25T11:58:00.000Z",
    "lastQueueAt": "2026-11-25T11:55:00.000Z",
    "lastAlarmAt": None,
    "version": "1.2.0",
    "schema": {"known": "0014_events.sql", "applied": "0014_events.sql"},
    "backlog": {"pending": 1, "processing": 2, "oldestPendingSeconds": 3},
    "storage": {"bytes": 10_000_000, "most": 450_000_000},
    "files": {"bucket": True, "unreachable": 0},
}
MODEL = {
    "status": "healthy",
    "provider": "demo",
    "model": "demo-1",
    "checkedAt": "2026-11-25T11:59:00.000Z",
    "detail": "built in",
}
DATABASE = "The database (D1, binding DB) does not answer."
FREE_BINDINGS = {"hasAIQueue": False, "hasAIDLQ": False, "hasDurableObjects": True}
SOUND: dict[str, dict[str, Any]] = {
    "": STATUS,
    "free": {
        "status": "healthy",
        "service": "Cloudflare Durable Objects Async Processing",
        "architecture": "Workers + D1 + Durable Objects",
        "queueCheck": FREE_BINDINGS,
    },
    "direct": {
        "status": "degraded",
        "service": "Direct Async Processing",
        "architecture": "Workers + D1",
        "queueCheck": dict.fromkeys(FREE_BINDINGS, False),
    },
}
DEGRADED = {**STATUS, "status": "degraded"}
OPERATOR_OF_THE_27TH = {**OPERATOR, "lastSweepAt": "2026-11-27T11:59:00.000Z"}


class Deployment:
    """Serves the answers of a deployment, which has no fault unless a test changes something."""

    def __init__(self) -> None:
        self.status: Any = STATUS
        self.operator: Any = OPERATOR
        self.model: Any = MODEL
        self.tasks: Any = {"tasks": [], "nextCursor": None}
        self.failed: list[dict[str, Any]] = []
        self.completed: list[dict[str, Any]] = []
        self.passed = 0
        self.operates = False
        self.endpoints: Any = problem(403, "forbidden")
        self.page: Any = Answer(stream=["<!doctype html>"])

    def serve(self, fake: FakeApi) -> FakeApi:
        tasks: Any = self.tasks if isinstance(self.tasks, Answer) else self._page
        fake.on("GET", "/", self.page).on("GET", "/v1/webhook_endpoints", self.endpoints)
        fake.on("GET", "/api/async-status", lambda asked: self.operator if "verbose" in asked.query else self.status)
        return fake.on("GET", "/api/ai-status", self.model).on("GET", "/api/tasks", tasks)

    def _page(self, asked: Asked) -> Any:
        number = int(asked.query.get("cursor", "0"))
        if asked.query.get("tenant") == "*" and not self.operates:
            return problem(403, "forbidden")
        if asked.query.get("status") == "completed":
            return {"tasks": self.completed, "nextCursor": None}
        tasks = self.failed if "createdBefore" not in asked.query and number >= self.passed else []
        return {"tasks": tasks, "nextCursor": None if number >= self.passed else str(number + 1)}


def changed(**values: Any) -> Callable[[Deployment], None]:
    def change(one: Deployment) -> None:
        for name, value in values.items():
            setattr(one, name, value)

    return change


def endpoints(failed_attempts: int) -> dict[str, Any]:
    one = {"id": "we_1", "name": "hook", "status": "enabled", "url": "https://x.example", "event_types": []}
    return {"data": [{**one, "failed_attempts": failed_attempts, "last_failure": "redirect"}]}


def unhealthy(detail: str) -> Callable[[Deployment], None]:
    return changed(status=Answer(503, {**STATUS, "status": "unhealthy", "detail": detail}))


def operated(**values: Any) -> Callable[[Deployment], None]:
    return changed(operator={**OPERATOR, **values})


def model(**values: Any) -> Callable[[Deployment], None]:
    return changed(model={**MODEL, "provider": "openai", **values})


def unbound(name: str) -> Callable[[Deployment], None]:
    return changed(status={**STATUS, "queueCheck": {**STATUS["queueCheck"], name: False}})


BROKEN_DEPLOYMENTS: dict[str, tuple[Callable[[Deployment], None], Expected]] = {
    "away": (changed(status=LOST), fault("reach", "was lost", "make dev")),
    "somebody else's": (changed(status={"hello": "world"}), fault("reach", "is not onceover", "ONCEOVER_URL")),
    "another URL": (changed(status=Answer(404, None)), fault("reach", "is the URL right?", "ONCEOVER_URL")),
    "a bad variable": (
        changed(status=problem(500, "bad_configuration", "AI_BASE_URL must be set")),
        fault("configuration", "AI_BASE_URL must be set", "correct .dev.vars"),
    ),
    "no database": (unhealthy(DATABASE), fault("database", "does not answer", "make dev")),
    "no tables": (unhealthy("The database has no tables yet."), fault("migrations", "no tables", "migrations")),
    "no rows left": (
        unhealthy("The day's allowance of database rows is used up"),
        fault("database", "allowance", "midnight UTC"),
    ),
    "no AI_QUEUE": (
        unbound("hasAIQueue"),
        fault("queues", "AI_QUEUE binding is missing", "queues create ai-processing-queue"),
    ),
    "no AI_DLQ": (unbound("hasAIDLQ"), fault("queues", "AI_DLQ binding is missing", "queues create ai-processing-dlq")),
    "no objects": (unbound("hasDurableObjects"), fault("objects", "binding is missing", "durable_objects.bindings")),
    "nothing bound": (
        changed(status=SOUND["direct"]),
        warning("queues", "neither queue nor objects", "make deploy ENV=free"),
    ),
    "other words": (
        changed(status={**STATUS, "service": "Mine"}),
        fault("async-status", "expected Cloudflare Queues", "make deploy"),
    ),
    "no room": (
        changed(status=DEGRADED, operator=problem(403, "forbidden")),
        fault("storage", "no space", "RETENTION_DAYS"),
    ),
    "model away": (
        model(status="unavailable", detail="the server needs a key: set AI_API_KEY"),
        fault("ai-status", "needs a key", "AI_API_KEY in .dev.vars"),
    ),
    "a model that the server lacks": (
        model(status="degraded", detail="the server answers but does not list the model m: check AI_MODEL"),
        warning("ai-status", "does not list the model m", "set AI_MODEL"),
    ),
    "a model that is down": (
        model(status="unavailable", detail="the connection to the server was refused or lost"),
        fault("ai-status", "refused or lost", "start the model's server"),
    ),
    "model in doubt": (
        model(status="degraded", detail="the server answered 500"),
        warning("ai-status", "answered 500", "AI_BASE_URL"),
    ),
    "calls that fail behind a healthy probe": (
        model(
            status="unavailable",
            waiting=3,
            since="2026-11-25T11:50:00.000Z",
            codes=[{"code": "model_unavailable", "tasks": 3, "share": 0.75}],
        ),
        fault("ai-status", "3 tasks waiting for it; of the latest tasks, model_unavailable 75%; since", "resume"),
    ),
    "a model's health without a key": (
        changed(model={"status": "degraded", "checkedAt": MODEL["checkedAt"]}),
        warning("ai-status", "a key with the scope read sees why", "ONCEOVER_KEY"),
    ),
    "a key that the model's server refuses": (
        model(status="degraded", codes=[{"code": "model_misconfigured", "share": 1.0}]),
        warning("ai-status", "model_misconfigured 100%", "AI_API_KEY in .dev.vars"),
    ),
    "Workers AI unbound": (
        model(provider="workers-ai", status="unavailable", detail="the binding AI is missing"),
        fault("ai-status", "binding AI is missing", "[ai]"),
    ),
    "no dashboard": (changed(page=problem(404, "not_found")), warning("dashboard", "no dashboard", "[assets]")),
    "another day": (
        changed(model={**MODEL, "checkedAt": "2026-11-27T12:00:00.000Z"}, operator=OPERATOR_OF_THE_27TH),
        fault("clock", "the server's clock says 2026-11-27 12:00 UTC, this machine's 2026-11-25", "timedatectl"),
    ),
    "a full disk": (
        changed(status=DEGRADED, operator=OPERATOR),
        fault("storage", "no space", "free space on the disk"),
    ),
    "a dead letter behind others": (
        changed(failed=[failed("dead_lettered")], passed=3),
        fault("dead-letters", "failing messages: 1", "retry --failed"),
    ),
    "no keys yet": (changed(tasks=problem(503, "not_configured")), fault("keys", "no keys yet", "make key")),
    "a key that is refused": (
        changed(tasks=problem(401, "unauthenticated")),
        fault("keys", "is refused", "make key, with the --persist-to of `make dev`"),
    ),
    "a key without read": (
        changed(tasks=problem(403, "forbidden")),
        fault("keys", "lacks the scope read", "keys make"),
    ),
    "no cron": (operated(lastSweepAt="2026-11-25T11:00:00.000Z"), fault("cron", "60 minutes ago", "crons")),
    "messages that fail": (
        operated(backlog={"pending": 9, "processing": 0, "oldestPendingSeconds": 900}, lastQueueAt=None),
        fault("queue", "failing messages", "npx wrangler tail"),
    ),
    "a consumer that is gone": (
        operated(backlog={"pending": 3, "processing": 0, "oldestPendingSeconds": 45}, lastQueueAt=None),
        fault("queue", "tasks have waited for 45 s, and the queue has never run", "is there a consumer?"),
    ),
    "a full database": (operated(storage={"bytes": 450, "most": 450}), fault("storage", "full", "RETENTION_DAYS")),
    "nearly full": (
        operated(storage={"bytes": 420, "most": 450}),
        warning("storage", "nearly full", "onceover delete"),
    ),
    "a bucket that was removed": (
        operated(files={"bucket": False, "unreachable": 3}),
        fault("bucket", "BLOBS binding is missing, and 3 unfinished", "[[r2_buckets]]"),
    ),
    "another database's bucket": (
        operated(files={"bucket": True, "unreachable": 0, "incomplete": 1}),
        fault("bucket", "lacks parts of the texts of 1 task: does it belong", "as BLOBS in wrangler.toml"),
    ),
    "migrations that wait": (
        operated(version="1.2.0", schema={"known": "0014_events.sql", "applied": "0013_responses.sql"}),
        fault("version", "knows the migration 0014_events.sql", "migrations apply"),
    ),
    "a row of a migration that was deleted": (
        operated(schema={"known": "0014_x.sql", "applied": "0014_x.sql", "missing": ["0005_y.sql"], "unknown": []}),
        fault("version", "d1_migrations has no row for 0005_y.sql", "values ('0005_y.sql')"),
    ),
    "another program's migration": (
        operated(schema={"known": "0014_x.sql", "applied": "0014_x.sql", "missing": [], "unknown": ["0002_mine.sql"]}),
        warning("version", "0002_mine.sql, which version 1.2.0 does not know: another program", "of its own"),
    ),
    "a receiver that redirects": (
        changed(endpoints=endpoints(10)),
        warning("webhooks", "endpoint hook (we_1): its last 10 attempts failed: redirect", "test we_1"),
    ),
    "a receiver of another tenant": (
        operated(webhooks={"failing": 2}),
        warning("webhooks", "2 endpoints of other tenants: the last 10 attempts failed", "webhooks-do-not-arrive"),
    ),
    "the day's rows": (
        operated(usage={"day": "2026-11-25", "rowsWritten": {"used": 99_000, "limit": 100_000}}),
        warning("quota", "rowsWritten: 99000 of the free plan's 100000", "midnight UTC"),
    ),
    "dead letters": (
        changed(failed=[failed("dead_lettered")] * 3),
        fault("dead-letters", "failing messages: 3", "retry --failed --error-code dead_lettered"),
    ),
    "a model that refuses": (
        changed(failed=[failed("model_refused")]),
        warning("failures", "model_refused: 1 task failed", "docs/runbook.md#the-model-refuses-the-key"),
    ),
}


def examined(one: Deployment, env: str | None = None, key: str | None = "oo_key") -> list[Check]:
    """Run the checks of `doctor` on a deployment, as an operator unless the test gives another key."""
    with FakeApi() as fake, ApiClient(place(one.serve(fake).url, key)) as api:
        return list(deployment.examine(api, env, NOW))


@pytest.mark.parametrize("name", BROKEN_DEPLOYMENTS)
def test_a_broken_deployment_is_named_with_its_fix(name: str):
    change, expected = BROKEN_DEPLOYMENTS[name]
    one = Deployment()
    change(one)
    the_one([check for check in examined(one) if check.id != "backlog"], *expected)


@pytest.mark.parametrize("env", SOUND)
def test_a_sound_deployment_has_nothing_to_mend(env: str):
    one = Deployment()
    one.status, one.operator = SOUND[env], {**OPERATOR, **SOUND[env]}
    one.failed = [failed("deadline_exceeded"), failed("budget_exhausted")]
    assert complaints(examined(one, env)) == []


def test_each_code_of_the_day_is_named_the_newest_first():
    one = Deployment()

    def of(code: str, hour: int, **more: Any) -> dict[str, Any]:
        error = {"code": code, "message": f"the provider answered {hour}", "retryable": False}
        return failed(code) | {"finishedAt": f"2026-11-25T{hour:02}:00:00.000Z", "error": error} | more

    retried = of("model_timeout", 11, id="retried", kind="batch")
    one.failed = [of("model_unavailable", 7), of("budget_exhausted", 9), of("model_unavailable", 8), retried]
    one.completed = [task(retryOf="retried"), task()]
    budget, away = (check for check in examined(one) if check.id == "failures")
    since = "failed in the last day, the latest at 2026-11-25T"
    assert budget.level is Level.NOTE
    assert budget.evidence == f"budget_exhausted: 1 task {since}09:00:00.000Z: the provider answered 9"
    assert budget.fix == "docs/runbook.md#a-task-ran-out-of-its-budget"
    assert away.level is Level.WARNING
    assert away.evidence == f"model_unavailable: 2 tasks {since}08:00:00.000Z: the provider answered 8"
    retry = "onceover retry --failed --error-code model_unavailable"
    assert away.fix == f"docs/runbook.md#the-model-is-away; after the repair, {retry}"


def test_a_tenant_with_many_poison_texts_is_named():
    one = Deployment()
    one.operates = True
    one.failed = [failed("model_refused") | {"tenant": tenant} for tenant in ("bad", "bad", "good")]
    (check,) = (check for check in examined(one) if check.id == "failures")
    assert check.evidence.startswith("model_refused: 3 tasks (2 of tenant bad) failed in the last day")
    one.failed = one.failed[:2]
    (check,) = (check for check in examined(one) if check.id == "failures")
    assert check.evidence.startswith("model_refused: 2 tasks (all of tenant bad) failed in the last day")


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (
            operated(**STATUS | {"status": "degraded"}),
            "trouble     storage: degraded: the database has no space for new tasks",
        ),
        (
            operated(files={"bucket": True, "unreachable": 0, "incomplete": 1}),
            "trouble     bucket: the bucket lacks parts of the texts of 1 task: does it belong to another database?",
        ),
        (
            model(checkedAt="2026-11-27T11:59:00.000Z"),
            "trouble     clock: the server's clock says 2026-11-27 11:59 UTC, this machine's",
        ),
        (
            changed(operates=True, failed=[failed("model_refused") | {"tenant": "acme"}] * 7),
            "            tenant acme: 7 model_refused",
        ),
    ],
    ids=["a full disk", "another bucket", "a clock", "another tenant's poison texts"],
)
def test_top_names_the_trouble(break_it: Callable[[Deployment], None], line: str):
    sound, broken = Deployment(), Deployment()
    break_it(broken)
    for one in (sound, broken):
        with FakeApi() as fake, ApiClient(place(one.serve(fake).url, None)) as api:
            found = top.snapshot(api, timedelta(hours=1), NOW)
        assert (line in top._text(found)) == (one is broken)
        assert one is broken or found["troubles"] == []


def test_what_is_only_noted():
    one = Deployment()
    one.endpoints = endpoints(9)
    schema = {"known": "0014_x.sql", "applied": "0015_y.sql", "missing": [], "unknown": ["0015_y.sql"]}
    one.operator = {**OPERATOR, "schema": schema}
    noted = {check.id: check.evidence for check in examined(one) if check.level is Level.NOTE}
    assert noted.keys() == {"webhooks", "version"}
    assert "a newer version has run here" in noted["version"]


def test_each_code_has_a_place_in_the_documents():
    assert HELP.keys() == set(TaskCode)


def test_a_deployment_that_is_open_to_everybody_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onceover_cli.connection.Address.is_local", False)
    without = complaints(examined(Deployment(), key=None))
    assert [(check.id, "REQUIRE_KEYS is false" in check.evidence) for check in without] == [
        ("ai-status", False),
        ("keys", True),
    ]
    assert "transport" in {check.id for check in complaints(examined(Deployment()))}


def test_a_demo_task_shows_whether_tasks_are_done():
    path = f"/api/tasks/{TASK_ID}"
    last = {"code": "model_unavailable", "message": "the provider answered 502"}
    for ends, level, said in (
        (task(), Level.OK, "a task completed"),
        (failed("model_refused"), Level.FAULT, "the trial failed: model_refused, it did not work"),
        (
            failed("budget_exhausted") | {"lastError": last},
            Level.FAULT,
            ": model_unavailable, the provider answered 502",
        ),
    ):
        with FakeApi().on("POST", "/api/tasks", task("pending")).on("GET", path, task("processing"), ends) as fake:
            fake.on("DELETE", path, Answer(204))
            with ApiClient(place(fake.url, None)) as api:
                check = trial(api)
            assert check.level is level
            assert said in check.evidence
            assert len(fake.requests("DELETE", path)) == 1


def test_a_trial_names_the_trouble_within_a_minute():
    path = f"/api/tasks/{TASK_ID}"
    last = {"code": "model_unavailable", "message": "the provider answered 502"}
    for seen, level, said, fix in (
        ({"lastError": last}, Level.FAULT, "model_unavailable, the provider answered 502", "#the-model-is-away"),
        ({"calls": {"out": [{}]}}, Level.WARNING, "the model has not answered its call", "#a-models-server-hangs"),
        (
            {"startedAt": None, "waitingFor": {"reason": "queued", "ahead": 0}},
            *(Level.FAULT, "no worker has started it, by the queue route", "is a consumer or a binding missing?)"),
        ),
        (
            {"startedAt": None, "waitingFor": {"reason": "queued", "ahead": 3}},
            *(Level.FAULT, "no worker has started it, by the queue route", "is a consumer or a binding missing?)"),
        ),
    ):
        times = itertools.count(0.0, 10.0)
        with FakeApi().on("POST", "/api/tasks", task("pending")).on("GET", path, task("processing") | seen) as fake:
            fake.on("DELETE", path, Answer(204))
            with ApiClient(place(fake.url, None)) as api:
                check = trial(api, times.__next__)
            assert check.level is level
            assert check.evidence.endswith(said)
            assert check.fix.endswith(fix)
            assert next(times) <= 60
            assert len(fake.requests("DELETE", path)) == 1


def test_a_database_that_takes_no_writes_is_told_from_one_that_does_not_answer():
    """`doctor --task` sees a full disk of `make dev`, of which the Worker itself sees only a failed write."""
    refusal = Answer(503, {"code": "database_unavailable", "detail": "does not answer"})
    with FakeApi().on("POST", "/api/tasks", refusal) as fake, ApiClient(place(fake.url, None)) as api:
        check = trial(api)
    assert (check.level, "takes no writes" in check.evidence, "df -h" in check.fix) == (Level.FAULT, True, True)


DATABASES = '[{"uuid": "1", "name": "onceover"}]'
ACCOUNT = {
    "whoami": Said(True, "You are logged in with an OAuth Token, associated with the email me@example.com."),
    "queues": Said(True, "ai-processing-queue ai-processing-dlq"),
    "d1 list": Said(True, DATABASES),
    "d1 migrations": Said(True, "No migrations to apply!"),
    "secret": Said(True, '[{"name": "AI_API_KEY"}]'),
}
BROKEN_ACCOUNTS: dict[str, tuple[dict[str, Said], str, str, str]] = {
    "not logged in": (
        {"whoami": Said(True, "You are not authenticated. Please run `wrangler login`.")},
        *("login", "not authenticated", "npx wrangler login"),
    ),
    "no network": ({"whoami": Said(False, "fetch failed")}, "login", "fetch failed", "npx wrangler login"),
    "the free plan": (
        {"queues": Said(False, "Queues are only available on the Workers Paid plan [code: 100129]")},
        *("queues", "Queues are not available on the free plan", "make deploy ENV=free"),
    ),
    "no queues": (
        {"queues": Said(True, "")},
        *("queues", "AI_QUEUE binding is missing", "npx wrangler queues create ai-processing-queue && "),
    ),
    "one queue": (
        {"queues": Said(True, "ai-processing-queue")},
        *("queues", "no ai-processing-dlq", "npx wrangler queues create ai-processing-dlq"),
    ),
    "no database": ({"d1 list": Said(True, "[]")}, "database", "no database onceover", "make deploy"),
    "D1 refuses": (
        {"d1 list": Said(False, "Authentication error [code: 10000]")},
        *("database", "Authentication error", "d1 list"),
    ),
    "migrations wait": (
        {"d1 migrations": Said(True, "0012_patience.sql\n0013_responses.sql")},
        *("migrations", "2 migrations not applied", "migrations apply"),
    ),
    "no secret": (
        {"secret": Said(True, "[]")},
        *("secrets", "AI_API_KEY is not set", "npx wrangler secret put AI_API_KEY"),
    ),
}


def asked(answers: dict[str, Said]) -> account.Wrangler:
    def ask(arguments: Sequence[str]) -> Said:
        line = " ".join(arguments)
        return next(said for start, said in answers.items() if line.startswith(start))

    return ask


@pytest.mark.parametrize("name", BROKEN_ACCOUNTS)
def test_a_broken_account_is_named_with_its_fix(name: str, clone: Path):
    provider('AI_PROVIDER = "openai"\nAI_BASE_URL = "https://api.openai.com/v1"')(clone)
    change, check_id, evidence, fix = BROKEN_ACCOUNTS[name]
    the_one(account.examine(clone, None, asked({**ACCOUNT, **change})), check_id, Level.FAULT, evidence, fix)


def test_a_sound_account_has_nothing_to_mend(clone: Path):
    provider('AI_PROVIDER = "openai"\nAI_BASE_URL = "https://api.openai.com/v1"')(clone)
    checks = list(account.examine(clone, None, asked(ACCOUNT)))
    assert [check.id for check in checks] == ["login", "queues", "database", "migrations", "secrets"]
    assert complaints(checks) == []

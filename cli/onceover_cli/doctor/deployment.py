"""Checks a deployment, or `make dev`, through its API: its status, its bindings, its keys, its model."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json
from .failures import failures
from .findings import Check, Level, fault, ok, skipped, warning
from .model import clocks, model
from .operation import MORE_ROOM, triggers
from .webhooks import webhooks


class Face(NamedTuple):
    """The answer of `/api/async-status` that a deployment of one environment of wrangler.toml should give."""

    status: str
    service: str
    architecture: str
    bindings: tuple[bool, bool, bool]


FACES: Final = {
    "": Face("healthy", "Cloudflare Queues Async Processing", "Workers + D1 + Queues", (True, True, True)),
    "free": Face(
        "healthy", "Cloudflare Durable Objects Async Processing", "Workers + D1 + Durable Objects", (False, False, True)
    ),
    "direct": Face("degraded", "Direct Async Processing", "Workers + D1", (False, False, False)),
}
BINDINGS: Final = ("hasAIQueue", "hasAIDLQ", "hasDurableObjects")
CREATE_QUEUES: Final = (
    "npx wrangler queues create ai-processing-queue && npx wrangler queues create ai-processing-dlq && make deploy"
)


# The names of the doctor's checks that fail because a deployment is faulty. Checks of the model, keys, cron, tasks and
# storage may also fail after a good deployment.
OF_THE_DEPLOYMENT: Final = frozenset(
    {"reach", "configuration", "database", "migrations", "queues", "objects", "async-status", "version"}
)


def as_deployed(check: Check) -> Check:
    """Return the check for `--deployed`: a fault that a deployment cannot cause becomes a warning."""
    is_excused = check.level is Level.FAULT and check.id not in OF_THE_DEPLOYMENT
    return replace(check, level=Level.WARNING) if is_excused else check


def examine(api: ApiClient, env: str | None, now: datetime) -> Iterator[Check]:
    """Check a deployment against the environment `env`, or if that is None, the one that its status suggests."""
    status, blocking = _service(api)
    yield from blocking
    if status is None:
        return
    outlook = _outlook(api)
    yield from _bindings(status, env, outlook, is_local=api.where.is_local)
    yield from _dashboard(api)
    checks, served = model(api, now)
    yield from checks
    yield from _access(api)
    yield version(outlook, is_local=api.where.is_local)
    yield from triggers(outlook, status["queueCheck"], served, is_local=api.where.is_local)
    yield from webhooks(api, outlook)
    yield from failures(api, served)


def troubles(api: ApiClient, outlook: Json, health: Json, now: datetime) -> list[Check]:
    """Return what is wrong by two answers: the status with `verbose=1`, and the model's health."""
    differing, served = clocks(health, now)
    checks = [
        *_bindings(outlook, None, outlook, is_local=api.where.is_local),
        *differing,
        version(outlook, is_local=api.where.is_local),
        *triggers(outlook, outlook["queueCheck"], served, is_local=api.where.is_local),
    ]
    return [check for check in checks if check.level in {Level.WARNING, Level.FAULT}]


def _service(api: ApiClient) -> tuple[Json | None, list[Check]]:
    """Read the deployment's status. If the deployment's status cannot be read, the checks only say why."""
    where = api.where.url
    try:
        status = api.get("/api/async-status")
    except Unreachable as error:
        fix = "make dev" if api.where.is_local else "npx wrangler deployments list, then make deploy"
        return None, [fault("reach", str(error), fix)]
    except ServerRefused as error:
        if error.code == "bad_configuration":
            fix = "correct wrangler.toml (or `npx wrangler secret put NAME` for a secret), then make deploy"
            local = "correct .dev.vars or --var, then make dev"
            return None, [
                ok("reach", f"{where} answers"),
                fault("configuration", str(error), local if api.where.is_local else fix),
            ]
        if error.problem.get("service"):
            return None, [ok("reach", f"{where} answers"), _database(api, error)]
        return None, [fault("reach", f"{where}: {error}", "set ONCEOVER_URL to the URL that `make deploy` printed")]
    if not isinstance(status.get("queueCheck"), dict) or not all(name in status["queueCheck"] for name in BINDINGS):
        return None, [
            fault("reach", f"{where} answers, but is not onceover", "set ONCEOVER_URL to the deployment's URL")
        ]
    return status, [ok("reach", f"{where} answers"), ok("database", "the database answers, and has its tables")]


def _database(api: ApiClient, error: ServerRefused) -> Check:
    detail = str(error.problem.get("detail", ""))
    if "no tables" in detail:
        fix = (
            "make dev (it applies the migrations)"
            if api.where.is_local
            else "npx wrangler d1 migrations apply DB --remote"
        )
        return fault("migrations", detail, fix)
    if "allowance" in detail:
        return fault("database", detail, "wait for midnight UTC, or change to the Workers Paid plan")
    fix = "make dev" if api.where.is_local else "npx wrangler d1 migrations list DB --remote"
    return fault("database", detail, fix)


def _room_fix(outlook: Json, *, is_local: bool) -> str:
    """Return what to do about a database without space: below its limit the disk or the account must be full."""
    if outlook.get("storage") is None or _is_full(outlook):
        return MORE_ROOM
    if is_local:
        return "free space on the disk (`df -h .`): the database is below STORAGE_MB_MOST, so the disk must be full"
    return "delete other databases of the account: this one is below STORAGE_MB_MOST, so the account must be full"


def _is_full(outlook: Json) -> bool:
    """Whether the operators' view shows a database at its limit."""
    storage = outlook.get("storage")
    return storage is not None and storage["bytes"] >= storage["most"]


def _bindings(status: Json, env: str | None, outlook: Json, *, is_local: bool) -> Iterator[Check]:
    """Compare the deployment's bindings, and its words about its bindings, with the environment of wrangler.toml."""
    found = tuple(bool(status["queueCheck"][name]) for name in BINDINGS)
    has_queue, has_dead_letters, has_objects = found
    meant = FACES.get(env) if env is not None else None
    expects_queue = meant.bindings[0] if meant else has_dead_letters
    complaints = []
    if expects_queue and not has_queue:
        complaints.append(fault("queues", "AI_QUEUE binding is missing", CREATE_QUEUES))
    if (meant.bindings[1] if meant else has_queue) and not has_dead_letters:
        complaints.append(fault("queues", "AI_DLQ binding is missing", CREATE_QUEUES))
    if (meant.bindings[2] if meant else has_queue) and not has_objects:
        fix = "put [[durable_objects.bindings]] and [[migrations]] back into wrangler.toml, then make deploy"
        complaints.append(fault("objects", "AI_PROCESSOR or BATCH_COORDINATOR binding is missing", fix))
    if meant is None and not any(found):
        text = "neither queue nor objects: each task runs in the request that submits it, or at the next cron run"
        complaints.append(warning("queues", text, "make deploy, or make deploy ENV=free on the free plan"))
    if complaints:
        yield from complaints
        return
    yield ok("queues", "bound" if has_queue else "not bound, as intended in this environment")
    yield ok("objects", "bound" if has_objects else "not bound, as intended in this environment")
    words = _words(status, meant, found, _room_fix(outlook, is_local=is_local))
    if words.id != "storage" or not _is_full(outlook):  # `triggers` reports a full database with its size
        yield words


def _words(status: Json, meant: Face | None, found: tuple[bool, ...], room_fix: str) -> Check:
    """Compare the texts of `/api/async-status` with those for the bindings, and its status with `healthy`."""
    face = meant or next((one for one in FACES.values() if one.bindings == found), None)
    said = f"{status['status']}: {status['service']}, {status['architecture']}"
    if face is None:
        return fault("async-status", f"{said}: no environment has these bindings", "make deploy")
    if (status["service"], status["architecture"]) != (face.service, face.architecture) or found != face.bindings:
        return fault(
            "async-status",
            f"{said}; expected {face.service}, {face.architecture}",
            "make deploy (with the intended ENV)",
        )
    if status["status"] == "degraded" and face.status == "healthy":
        return fault("storage", "degraded: the database has no space for new tasks", room_fix)
    return ok("async-status", said)


def _dashboard(api: ApiClient) -> Iterator[Check]:
    """Check that the deployment has its dashboard. A missing dashboard is a warning, as no task depends on it."""
    try:
        api.get("/")
        status = 0  # the answer was JSON, so it is not the dashboard's page
    except ServerRefused as error:
        status = error.status
    except Unreachable:
        return  # another check of the doctor reports why requests are not answered
    if status == 200:
        yield ok("dashboard", f"there is a page at {api.where.url}/")
    else:
        fix = "put [assets] back into wrangler.toml (`onceover doctor .` has the lines), then make deploy"
        yield warning("dashboard", f"there is no dashboard at {api.where.url}/", fix)


def _access(api: ApiClient) -> Iterator[Check]:
    """Check that the key is valid, and that a deployment refuses requests without a key."""
    if api.where.key is not None and api.where.is_open:
        yield fault("transport", f"the key goes to {api.where.url} unencrypted", "use the https URL")
    try:
        api.get("/api/tasks", {"limit": "1"})
    except ServerRefused as error:
        yield _refusal(api, error)
    except Unreachable as error:
        yield fault("tasks", str(error), "npx wrangler tail")
    else:
        if api.where.key is None and not api.where.is_local:
            fix = "remove REQUIRE_KEYS=false from wrangler.toml, then make deploy, then make key ARGS=--remote"
            yield fault("keys", "anyone may read and submit tasks here: REQUIRE_KEYS is false", fix)
        else:
            yield ok("keys", "no key is needed on this machine" if api.where.key is None else "the key is valid")


def _refusal(api: ApiClient, error: ServerRefused) -> Check:
    """Return the result of a check whose request for tasks was refused: why it was refused, and what to do."""
    make = "make key" if api.where.is_local else "make key ARGS=--remote"
    if error.code == "not_configured":
        return fault("keys", "the deployment has no keys yet, so it refuses all requests for tasks", make)
    if error.status == 401 and api.where.key is None:
        text = "the deployment needs a key, as it should, but ONCEOVER_KEY is not set"
        return skipped("keys", text, f"{make}, then set ONCEOVER_KEY")
    if error.status == 401:
        text = "the key in ONCEOVER_KEY is refused: unknown, revoked, or expired"
        if api.where.is_local:
            text += "; or `make key` wrote it to another --persist-to than that of this `make dev`"
            make += ', with the --persist-to of `make dev` in ARGS="…" if it has one'
        return fault("keys", text, f"{make}, then set ONCEOVER_KEY")
    if error.status == 403:
        return fault("keys", "the key lacks the scope read", "onceover keys make --scopes read,write")
    if error.status == 429:
        return warning("keys", f"the tenant has reached a limit: {error}", "wait, or raise the limit")
    return fault("tasks", str(error), "npx wrangler tail")


def _outlook(api: ApiClient) -> Json:
    """Read the status with `verbose=1`. Returns an empty object if the request for the status is refused or fails."""
    try:
        return api.get("/api/async-status", {"verbose": "1"})
    except (Unreachable, ServerRefused):
        return {}


def version(outlook: Json, *, is_local: bool = False) -> Check:
    """Check that the deployment's version and the database's schema fit each other, if the key may see them."""
    if outlook.get("version") is None:
        return skipped("version", "this key may not see the server's version")
    schema = outlook.get("schema") or {}
    known, applied, missing = schema.get("known"), schema.get("applied"), schema.get("missing")
    if missing and applied is not None:
        # The check of the database has found what each migration adds, so only the record is incomplete.
        values = ", ".join(f"('{name}')" for name in missing)
        text = f"d1_migrations has no row for {', '.join(missing)}, so wrangler would apply it again and fail"
        where = "--local --persist-to DIR" if is_local else "--remote"
        sql = f"into d1_migrations (name) values {values}"
        return fault("version", text, f'npx wrangler d1 execute DB {where} --command "insert {sql}"')
    if known is not None and applied is not None and applied < known:
        text = f"version {outlook['version']} knows the migration {known}, but the database has {applied}"
        return fault("version", text, "npx wrangler d1 migrations apply DB --remote, or make deploy")
    if unknown := schema.get("unknown"):
        return _unknown(outlook["version"], unknown, str(known))
    return ok("version", f"version {outlook['version']}" + (f", schema {applied or known}" if schema else ""))


def _unknown(version: str, unknown: list[str], known: str) -> Check:
    """Judge migrations in the database's record that the deployment's code does not know."""
    said = f"the database has the migration {', '.join(unknown)}, which version {version} does not know"
    if min(unknown) > known:
        return Check("version", Level.NOTE, f"{said}: a newer version has run here. Migrations only add, so this works")
    fix = "bind DB to a database of its own (npx wrangler d1 list), or restore the clone's migrations"
    return warning("version", f"{said}: another program, or an edited clone, uses this database too", fix)

"""`python -m tests.wrangler_trial` lets the real wrangler deploy all environments to a stand-in for Cloudflare's API.

The tests of `make deploy` replace wrangler by a stand-in. The trial shows that the real wrangler accepts the commands,
finds the database by its name, and prints the same as the stand-in. The trial deploys all environments to one account.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from local import key
from local.deployment import main as command
from local.node import ROOT
from local.remote.account import needs
from local.remote.cloud import StepFailed, run
from local.remote.deploy import Shape, deploy
from local.remote.deploy_check import DeploymentReply, Web
from tests.support.cloudflare_api import ACCOUNT, ApiError, CloudflareApi
from tests.support.deployed import BINDINGS, QUEUES

WAY = ("", "", "free", "direct", "")  # the environments in the order of their deployments, with repetitions


def environment(api: CloudflareApi, home: Path) -> dict[str, str]:
    return {"CLOUDFLARE_API_BASE_URL": api.url, "CLOUDFLARE_API_TOKEN": "token", "XDG_CONFIG_HOME": str(home)}


def web(api: CloudflareApi) -> Web:
    def get(url: str) -> DeploymentReply:
        assert url.startswith("https://onceover.example.workers.dev/api/"), url
        if url.endswith("/ai-status"):
            return DeploymentReply(200, {"status": "healthy"}, "")
        names = {bound["name"] for bound in api.worker["metadata"]["bindings"]}
        check = {
            "hasAIQueue": "AI_QUEUE" in names,
            "hasAIDLQ": "AI_DLQ" in names,
            "hasDurableObjects": "AI_PROCESSOR" in names,
        }
        return DeploymentReply(200, {"status": "healthy", "queueCheck": check}, "")

    return Web(get, time.monotonic, time.sleep)


def wrong(api: CloudflareApi, env: str) -> list[str]:
    kinds = {"d1": "d1 ", "queue": "queue ", "durable_object_namespace": "object ", "r2_bucket": "bucket "}
    names = {"d1": "onceover", "r2_bucket": "onceover-files"}
    bound = sorted(
        kinds[one["type"]] + names.get(one["type"], one["name"])
        for one in api.worker["metadata"]["bindings"]
        if one["type"] in kinds
    )
    faults = [] if bound == BINDINGS[env] else [f"bindings {bound}"]
    applied = [row["name"] for row in api.databases["onceover"].execute("SELECT name FROM d1_migrations ORDER BY id")]
    if applied != sorted(path.name for path in (ROOT / "migrations").glob("*.sql")):
        faults.append(f"migrations {applied}")
    if api.worker["crons"] != ["* * * * *"]:
        faults.append("cron")
    if env == "" and api.queues != {name: ["onceover"] for name in QUEUES}:
        faults.append(f"consumers {api.queues}")
    if env != "direct" and api.worker["tag"] != "v1":
        faults.append("objects")
    return [*faults, *(f"unknown to the stand-in: {request}" for request in api.strange)]


def deploy_once(api: CloudflareApi, env: str, said: list[str] | None = None) -> list[str]:
    deploy(run, web(api), needs(ROOT, env), Shape(), (said if said is not None else []).append)
    return wrong(api, env)


def refused(api: CloudflareApi, part: str, error: ApiError) -> str | None:
    api.refuse = {part: error}
    try:
        deploy(run, web(api), needs(ROOT, ""), Shape(), lambda _: None)
    except StepFailed as failed:
        return failed.fix.id
    finally:
        api.refuse = {}
    return None


REFUSALS: tuple[tuple[str, ApiError, str], ...] = (
    ("GET /d1/database", ApiError(403, 10000, "Authentication error"), "no-permission"),
    ("POST /queues", ApiError(403, 100129, "Queues are unavailable on the free plan."), "queues-plan"),
    ("POST /d1/database/uuid", ApiError(500, 7500, "D1 DB is overloaded."), "database-busy"),
    (
        "PUT /workers/scripts/onceover",
        ApiError(400, 10027, "Your Worker exceeded the size limit of 3 MiB."),
        "too-large",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the API's refusals, all deployments, key, secrets and rollback. Exit status 0: nothing wrong."""
    assert not arguments, "no arguments are taken"
    faults: list[Any] = []
    started = time.monotonic()
    with CloudflareApi() as api, TemporaryDirectory() as home:
        os.environ.pop("CLOUDFLARE_ACCOUNT_ID", None)
        os.environ.update(environment(api, Path(home)))
        for part, error, fix in REFUSALS:
            found = refused(api, part, error)
            print(f"refused {part}: fix {found}")
            faults += [] if found == fix else [f"{part}: {found}"]
        for env in WAY:
            found_wrong = deploy_once(api, env)
            print(f"deployed {env or 'top'}: {found_wrong or 'as it must be'}; created {', '.join(api.created)}")
            faults += found_wrong
        if len(api.created) != len(set(api.created)):
            faults.append("created twice")
        if len(api.worker["migrated"]) != 1:
            faults.append("objects migrated more than once")
        live = api.worker["live"]
        statuses = [key.main(["--remote"]), command(["secrets", "--env=", "--generate", "WEBHOOK_KEY"])]
        deploy_once(api, "")
        statuses.append(command(["rollback", "--env=", live]))
        faults += [] if statuses == [0, 0, 0] and api.worker["live"] == live else [f"statuses {statuses}"]
        print(f"{len(api.requests)} requests of Cloudflare's API; account {ACCOUNT}")
    print(f"{time.monotonic() - started:.0f} s; {len(faults)} faults")
    print("\n".join(map(str, faults)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

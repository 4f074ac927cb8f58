"""Compares the needs of an environment of wrangler.toml with the parts that the account already has."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arguments import UsageError, environments
from .cloud import Cloud, CommandResult, StepFailed, need
from .fixes import FIXES, fix_for

_BUCKET = re.compile(r"^name:\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Needs:
    """The parts that an environment of wrangler.toml names. `env` is empty for the top level."""

    env: str
    worker: str
    database: str
    queues: tuple[str, ...]
    bindings: frozenset[str]
    account: str | None
    variables: Mapping[str, str]
    bucket: str | None = None  # The bucket of R2 for files, None if wrangler.toml binds none.

    @property
    def flag(self) -> str:
        """The flag that names the environment. Without this flag wrangler warns if there are several environments."""
        return f"--env={self.env}"

    @property
    def queue_check(self) -> dict[str, bool]:
        """The `queueCheck` that `GET /api/async-status` answers if the deployment has wrangler.toml's bindings."""
        return {
            "hasAIQueue": "AI_QUEUE" in self.bindings,
            "hasAIDLQ": "AI_DLQ" in self.bindings,
            "hasDurableObjects": {"AI_PROCESSOR", "BATCH_COORDINATOR"} <= self.bindings,
        }


@dataclass(frozen=True, slots=True)
class AccountState:
    """The queues, databases and secrets that the account has.

    `version` is the id of the running version, or None if the account has no such Worker. `has_r2` is False if R2 is
    not enabled in the account.
    """

    account: str
    version: str | None
    has_database: bool
    missing_queues: tuple[str, ...]
    has_r2: bool = False
    has_bucket: bool = False


def needs(root: Path, env: str) -> Needs:
    """Return the needs of an environment of wrangler.toml.

    Raises `UsageError` if wrangler.toml has no environment of this name.
    """
    known = environments(root / "wrangler.toml")
    if env and env not in known:
        raise UsageError(f"unknown ENV={env}; there are {', '.join(known)} (leave it out for the top level)")
    config: dict[str, Any] = tomllib.loads((root / "wrangler.toml").read_text("utf-8"))
    part = config["env"][env] if env else config
    queues = part.get("queues", {})
    names = [queue["queue"] for role in ("producers", "consumers") for queue in queues.get(role, [])]
    objects = part.get("durable_objects", {}).get("bindings", [])
    return Needs(
        env=env,
        worker=part.get("name", config["name"]),
        database=part["d1_databases"][0]["database_name"],
        queues=tuple(dict.fromkeys(names)),
        bindings=frozenset(
            [queue["binding"] for queue in queues.get("producers", [])] + [bound["name"] for bound in objects]
        ),
        account=os.environ.get("CLOUDFLARE_ACCOUNT_ID") or part.get("account_id") or config.get("account_id"),
        variables=part.get("vars", {}),
        bucket=next((one["bucket_name"] for one in part.get("r2_buckets", [])), None),
    )


def look(cloud: Cloud, wanted: Needs) -> AccountState:
    """Return which of the needed parts the account has. Changes nothing. Raises `StepFailed`."""
    account = _account(cloud, wanted)
    databases = parsed(need(cloud("d1", "list", "--json", wanted.flag), "Listing the databases"))
    version = live_version(cloud, wanted)
    missing = tuple(name for name in wanted.queues if not _has_queue(cloud, name, wanted))
    has_database = any(one.get("name") == wanted.database for one in databases)
    buckets = None if wanted.bucket is None else _buckets(cloud, wanted)
    has_bucket = buckets is not None and wanted.bucket in buckets
    return AccountState(account, version, has_database, missing, has_r2=buckets is not None, has_bucket=has_bucket)


def live_version(cloud: Cloud, wanted: Needs) -> str | None:
    """Return the id of the running version, None if the account has no such Worker. Raises `StepFailed`."""
    answer = cloud("deployments", "list", "--json", wanted.flag)
    if answer.status != 0 and fix_for(answer.said).id == "no-worker":
        return None
    deployments = parsed(need(answer, "Listing the Worker's deployments"))
    return str(deployments[-1]["versions"][0]["version_id"]) if deployments else None


def _has_queue(cloud: Cloud, name: str, wanted: Needs) -> bool:
    answer = cloud("queues", "info", name, wanted.flag)
    if answer.status != 0 and fix_for(answer.said).id == "no-queue":
        return False
    need(answer, f"Checking the queue {name}")
    return True


def _buckets(cloud: Cloud, wanted: Needs) -> frozenset[str] | None:
    """Return the account's buckets of R2, None if R2 is not enabled. Raises `StepFailed`.

    wrangler lists the first buckets only, so the bucket may exist although it is not in the list.
    """
    answer = cloud("r2", "bucket", "list", wanted.flag)
    if answer.status != 0 and fix_for(answer.said).id == "buckets-off":
        return None
    return frozenset(_BUCKET.findall(need(answer, "Listing the buckets of R2").out))


def _is_log_public() -> bool:
    """Whether others may read the log, so that it must not show an account's name (often an e-mail address)."""
    return bool(os.environ.get("GITHUB_ACTIONS") or os.environ.get("CI"))


def _account(cloud: Cloud, wanted: Needs) -> str:
    """Return the name and id of the account; in a workflow only the id. Raises `StepFailed`.

    A token may allow deployments but not the listing of accounts, which is no error if a variable names the account.
    """
    answer = cloud("whoami", "--json")
    if answer.status != 0:
        fix = fix_for(answer.said)
        if wanted.account is None or fix.id in {"not-logged-in", "network", "bad-token"}:
            need(answer, "Checking who is logged in")
        return wanted.account or ""
    accounts: list[dict[str, str]] = json.loads(answer.out[answer.out.index("{") :]).get("accounts", [])
    named = {one["id"]: one["id"] if _is_log_public() else f"{one['name']} ({one['id']})" for one in accounts}
    if wanted.account is not None:
        if named and wanted.account not in named:
            raise StepFailed(
                f"the login has no access to the account {wanted.account}, but to {', '.join(named.values())}",
                FIXES["wrong-account"],
            )
        return named.get(wanted.account, wanted.account)
    if len(named) > 1:
        raise StepFailed(f"the login has several accounts: {', '.join(named.values())}", FIXES["several-accounts"])
    if not named:
        raise StepFailed("the login has no account", FIXES["wrong-account"])
    return next(iter(named.values()))


def parsed(answer: CommandResult) -> list[dict[str, Any]]:
    """Return the list that wrangler printed as JSON. Raises `StepFailed`."""
    try:
        found: list[dict[str, Any]] = json.loads(answer.out[answer.out.index("[") :])
    except ValueError:
        raise StepFailed(f"wrangler printed no list:\n{answer.said.strip()[-500:]}", fix_for(answer.said)) from None
    return found

"""Says what a stand-in account must contain after a deployment, and answers for the Worker of this account."""

from collections import Counter
from typing import Any

from local.node import ROOT
from local.remote.account import Needs
from local.remote.deploy_check import DeploymentReply, Web
from tests.support.cloud_account import CloudAccount

MIGRATIONS = sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
BINDINGS = {
    "": [
        "bucket onceover-files", "d1 onceover", "object AI_PROCESSOR", "object BATCH_COORDINATOR",
        "queue AI_DLQ", "queue AI_QUEUE",
    ],
    "free": ["bucket onceover-files", "d1 onceover", "object AI_PROCESSOR", "object BATCH_COORDINATOR"],
    "direct": ["bucket onceover-files", "d1 onceover"],
}  # fmt: skip
QUEUES = ("ai-processing-queue", "ai-processing-dlq")


def wrong(state: dict[str, Any], env: str) -> list[str]:
    worker = state["workers"].get("onceover", {})
    faults = []
    if state["databases"].get("onceover") != MIGRATIONS:
        faults.append("migrations")
    bindings = [bound for bound in BINDINGS[env] if state["buckets"] is not None or not bound.startswith("bucket")]
    if worker.get("bindings") != bindings:
        faults.append("bindings")
    if worker.get("live") != (worker.get("versions") or ["none"])[-1]:
        faults.append("version")
    if worker.get("crons") != ["* * * * *"]:
        faults.append("cron")
    if env == "" and any(state["queues"].get(name) != ["onceover"] for name in QUEUES):
        faults.append("consumers")
    if env != "direct" and worker.get("objects") != ["AIProcessor", "BatchCoordinator"]:
        faults.append("objects")
    allowed = {"database onceover", "bucket onceover-files", *(f"queue {name}" for name in QUEUES if env == "")}
    faults += [f"created {what} {times} times" for what, times in Counter(state["created"]).items() if times > 1]
    faults += [f"created {what}" for what in state["created"] if what not in allowed]
    return faults


class Internet:
    """Gives first the answers in `first`, and then the answers of the account's Worker."""

    def __init__(self, account: CloudAccount, first: list[DeploymentReply] | None = None) -> None:
        self.account = account
        self.first = list(first or [])
        self.model = DeploymentReply(200, {"status": "healthy", "provider": "workers-ai", "model": "m"}, "")
        self.seconds = 0.0
        self.asked: list[str] = []

    @property
    def web(self) -> Web:
        return Web(self._get, lambda: self.seconds, self._pause)

    def _pause(self, seconds: float) -> None:
        self.seconds += seconds

    def _get(self, url: str) -> DeploymentReply:
        self.asked.append(url)
        if self.first:
            return self.first.pop(0)
        assert url.startswith("https://onceover.example.workers.dev/api/"), url
        if url.endswith("/ai-status"):
            return self.model
        bindings = self.account.state["workers"]["onceover"]["bindings"]
        check = {
            "hasAIQueue": "queue AI_QUEUE" in bindings,
            "hasAIDLQ": "queue AI_DLQ" in bindings,
            "hasDurableObjects": "object AI_PROCESSOR" in bindings,
        }
        return DeploymentReply(200, {"status": "healthy", "queueCheck": check}, "")


def ready(env: str, wanted: Needs) -> DeploymentReply:
    return DeploymentReply(
        200, {"status": "healthy", "queueCheck": {name: not value for name, value in wanted.queue_check.items()}}, env
    )

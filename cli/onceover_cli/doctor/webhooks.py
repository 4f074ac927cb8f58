"""Checks the webhook endpoints of the key's tenant, and for operators how many of all tenants fail."""

from collections.abc import Iterator
from typing import Final

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json, many
from .findings import Check, Level, warning

_FAILING_FROM: Final = 10
_HELP: Final = "docs/runbook.md#webhooks-do-not-arrive"


def webhooks(api: ApiClient, outlook: Json) -> Iterator[Check]:
    """Warn of endpoints whose last ten attempts failed, and note those with fewer failures.

    A key without the scope `admin` sees no endpoints.
    """
    try:
        found = api.get("/v1/webhook_endpoints", {"limit": "100"})["data"]
    except (ServerRefused, Unreachable):
        found = []
    own = 0
    for one in found:
        failed = one.get("failed_attempts", 0)
        if not failed or one["status"] == "disabled":
            continue
        text = f"endpoint {one['name']} ({one['id']}): its last {many(failed, 'attempt')} failed: {one['last_failure']}"
        own += failed >= _FAILING_FROM
        level = Level.WARNING if failed >= _FAILING_FROM else Level.NOTE
        yield Check("webhooks", level, text, f"repair its receiver, then onceover webhooks test {one['id']}; {_HELP}")
    others = (outlook.get("webhooks") or {}).get("failing", 0) - own
    if others > 0:
        text = f"{many(others, 'endpoint')} of other tenants: the last {_FAILING_FROM} attempts failed"
        yield warning("webhooks", text, f"onceover webhooks list, with a key of each tenant; {_HELP}")

"""Retries or cancels many tasks, a hundred in one request, for one tenant or for all tenants in turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json, many

ALL_TENANTS: Final = "*"
_SUMS: Final = ("tasks", "minimumCalls", "maximumCalls")


@dataclass(frozen=True, slots=True)
class ChangeKind:
    """A kind of bulk change: its path, the answer's field that counts the changed tasks, and the words for people."""

    path: str
    counts: str
    done: str
    others: str


RETRY: Final = ChangeKind(
    "/api/tasks/retry",
    "retried",
    "retried",
    "There are more failed tasks; some may have failed again: onceover list --status failed",
)
CANCEL: Final = ChangeKind(
    "/api/tasks/cancel", "cancelled", "cancelled", "There are more unfinished tasks: onceover list"
)


def plan(api: ApiClient, bulk: ChangeKind, filters: Json) -> Json:
    """Ask what a bulk change would do.

    If a bulk change is for all tenants, its plan has the sums over all tenants, and the plan for each tenant.
    """
    if api.tenant != ALL_TENANTS:
        return api.ask("POST", bulk.path, body={**filters, "dryRun": True})
    found = list(_plans(api, bulk, filters))
    sums = {name: sum(one.get(name, 0) for one in found) for name in _SUMS if bulk is RETRY or name == "tasks"}
    return {**sums, "more": any(one["more"] for one in found), "tenants": found}


def _plans(api: ApiClient, bulk: ChangeKind, filters: Json) -> Iterator[Json]:
    """Yield the plan for each tenant with tasks that the bulk change would change."""
    cursor: str | None = ""
    while cursor is not None:
        page = api.ask("POST", bulk.path, params={"cursor": cursor}, body={**filters, "dryRun": True})
        cursor = page.pop("nextCursor")
        if page["tasks"]:
            yield page


def described(found: Json) -> str:
    """Describe the plan of a bulk change in words."""
    tasks = many(found["tasks"], "task") + (" or more" if found["more"] else "")
    if "maximumCalls" not in found:
        return f"{tasks}\n"
    return f"{tasks}, {found['minimumCalls']} to {found['maximumCalls']} model calls\n"


def carry_out(api: ApiClient, bulk: ChangeKind, filters: Json) -> tuple[Json, CommandError | None]:
    """Change all matching tasks. Return the counts and the error that stopped the change, if any."""
    if api.tenant != ALL_TENANTS:
        found = plan(api, bulk, filters)
        return _rounds(api, bulk, filters, found["tasks"])
    done: list[Json] = []
    stopped: CommandError | None = None
    for one in list(_plans(api, bulk, filters)):
        with api.acting_for(one["tenant"]):
            try:
                changed, stopped = _rounds(api, bulk, filters, one["tasks"])
            except (ServerRefused, Unreachable) as error:
                changed, stopped = {bulk.counts: 0, "more": True}, error
        done.append({"tenant": one["tenant"], **changed})
        # If a tenant has reached a limit of its own (429), the change continues with the next tenant.
        if isinstance(stopped, ServerRefused) and stopped.status == 429:
            continue
        if stopped is not None:
            break
    count, more = sum(one[bulk.counts] for one in done), any(one["more"] for one in done)
    return {bulk.counts: count, "more": more, "tenants": done}, stopped


def _rounds(api: ApiClient, bulk: ChangeKind, filters: Json, most: int) -> tuple[Json, CommandError | None]:
    """Retry or cancel all matching tasks of one tenant.

    Return the counts and the error that stopped the change, if any. Raises the error of the bulk change's first request
    if that request fails.

    The loop of requests stops after `most` tasks: otherwise a retry of all failed tasks would continue, and cost model
    calls, as long as retried tasks fail again at once.
    """
    count, more, is_first = 0, False, True
    while count < most and (is_first or more):
        try:
            page = api.ask("POST", bulk.path, body=filters)
        except (ServerRefused, Unreachable) as error:
            if is_first:
                raise
            return {bulk.counts: count, "more": more}, error
        count, more, is_first = count + page[bulk.counts], page["more"], False
        if page[bulk.counts] == 0:
            break
    return {bulk.counts: count, "more": more}, None

"""Checks the tasks that failed in the last day: of all tenants if the key may read them, else of the key's own."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json, many
from .findings import Check, Level, fault, ok, warning

_LOOKED_BACK: Final = timedelta(days=1)
# Failed tasks of the last day were created within two days, because a task may wait for its model for a day before it
# fails (`MODEL_PATIENCE_SECONDS`).
_CREATED_WITHIN: Final = 2 * _LOOKED_BACK
_PAGE: Final = "100"
_SECONDS_MOST: Final = 60.0
# The most pages of older tasks that are read: an older task can have failed today if a client retried it. The server
# walks over up to 500 tasks for a page, and each is a row that D1 reads.
_OLDER_PAGES_MOST: Final = 20
# Codes of failures by a client's own terms or content, which are no fault of the deployment.
_ASKED_FOR: Final = frozenset(
    {"deadline_exceeded", "budget_exhausted", "cost_exhausted", "invalid_batch", "invalid_input"}
)
# For each code, where the documents say what helps, and whether a retry of the tasks as they are may help afterwards.
HELP: Final = {
    "model_unavailable": ("docs/runbook.md#the-model-is-away", True),
    "model_timeout": ("docs/runbook.md#a-models-server-hangs", True),
    "model_connection_lost": ("docs/runbook.md#the-model-is-away", True),
    "model_reply_malformed": ("docs/runbook.md#model-calls-give-no-output", True),
    "model_rate_limited": ("docs/runbook.md#model-calls-give-no-output", True),
    "model_refused": ("docs/runbook.md#the-model-refuses-the-key", True),
    "model_misconfigured": ("docs/runbook.md#the-model-refuses-the-key", True),
    "model_quota_exhausted": ("docs/runbook.md#workers-ais-day-is-used-up", True),
    "structured_output_unsupported": ("docs/runbook.md#the-models-server-refuses-the-output-schema", True),
    "worker_crashed": ("docs/runbook.md#messages-end-in-the-dead-letter-queue", True),
    "dead_lettered": ("docs/runbook.md#messages-end-in-the-dead-letter-queue", True),
    "deadline_exceeded": ("docs/clients.md#set-terms", True),
    "budget_exhausted": ("docs/runbook.md#a-task-ran-out-of-its-budget", False),
    "cost_exhausted": ("docs/runbook.md#a-task-ran-out-of-its-budget", False),
    "invalid_output": ("docs/structured-output.md#what-happens-to-an-answer", False),
    "output_truncated": ("docs/runbook.md#outputs-are-cut-off", False),
    "too_many_gaps": ("docs/structured-output.md#gaps", False),
    "invalid_batch": ("docs/batches.md#the-lines-of-the-input-file", False),
    "invalid_input": ("docs/batches.md#a-long-text", False),
    "input_missing": ("docs/batches.md#a-long-text", False),
}


class _Cut(Exception):
    """Raised if not all pages of tasks could be read.

    `before` is the time of creation of the last task that was read.
    """

    def __init__(self, why: str, before: str) -> None:
        super().__init__(why)
        self.before = before


class _Passed(Exception):
    """Raised if the list of tasks has more than _OLDER_PAGES_MOST pages of older tasks."""


@dataclass(slots=True)
class _Code:
    """The tasks that failed with one code: how many, and when and with which message the latest of them ended.

    `tenants` counts them by tenant, and is empty if the tasks are of one tenant only.
    """

    count: int = 0
    at: str = ""
    message: str = ""
    tenants: Counter[str] = field(default_factory=Counter)

    def add(self, task: Json) -> None:
        self.count += 1
        if "tenant" in task:
            self.tenants[str(task["tenant"])] += 1
        if (at := str(task["finishedAt"])) >= self.at:
            self.at, self.message = at, str(task["error"]["message"])

    @property
    def whose(self) -> str:
        """The tenant that most of the tasks belong to, and how many of them."""
        if not self.tenants:
            return ""
        tenant, count = self.tenants.most_common(1)[0]
        return f" ({'all' if count == self.count else count} of tenant {tenant})"


def failures(api: ApiClient, now: datetime, clock: Callable[[], float] = time.monotonic) -> Iterator[Check]:
    """Check the tasks that failed in the last day: dead letters first, then each other code, the newest first."""
    found: list[Json] = []
    cut: _Cut | None = None
    passed_over = ""
    young = _stamp(now - _CREATED_WITHIN)
    try:
        of_all = {"tenant": "*"} if may_read_all(api) else {}
        found += _failed(api, {"createdAfter": young, **of_all}, now, clock)
        found += _failed(api, {"createdBefore": young, **of_all}, now, clock, pages_most=_OLDER_PAGES_MOST)
    except _Passed:
        passed_over = "; of tasks older than two days, which fail again if they are retried, only the newest were read"
    except _Cut as error:
        cut = error
    except (ServerRefused, Unreachable):
        return  # another check of the doctor reports why tasks cannot be read
    codes = defaultdict[str, _Code](_Code)
    retried = _retried(api, found, of_all, clock)
    for task in found:
        if task["id"] not in retried:
            codes[str(task["error"]["code"])].add(task)
    wide = " --tenant '*'" if of_all else ""
    whose = ", of all tenants" if of_all else ", of the key's tenant" if api.where.key else ""
    yield from _judged(codes, f"{whose}{passed_over}", wide, is_whole=cut is None)
    if cut is not None:
        since = f" --created-before {cut.before}" if cut.before and not of_all else ""
        fix = f"onceover list --status failed{wide}{since}"
        yield warning("failures", f"only a part of the last day could be checked: {cut}", fix)


def may_read_all(api: ApiClient) -> bool:
    """Whether the key may read all tenants' tasks. Any error other than the server's refusal (403, 422) is raised."""
    try:
        api.get("/api/tasks", {"tenant": "*", "limit": "1"})
    except ServerRefused as error:
        if error.status in {403, 422}:  # 422 comes from an older server, without the scope `operator`
            return False
        raise
    return True


def _failed(
    api: ApiClient, only: dict[str, str], now: datetime, clock: Callable[[], float], pages_most: int | None = None
) -> Iterator[Json]:
    """Yield the tasks that failed within the last day. `only` has further filters. Raises as `_listed`."""
    since = now - _LOOKED_BACK
    for task in _listed(api, {"status": "failed", **only}, clock, pages_most):
        if task["error"] and datetime.fromisoformat(task["finishedAt"] or task["createdAt"]) >= since:
            yield task


def _retried(api: ApiClient, found: list[Json], of_all: dict[str, str], clock: Callable[[], float]) -> set[str]:
    """Return the ids of failed batches whose lines a later batch has completed.

    The retry of a batch is a new task. Any other task that was retried with success has not failed any more.
    """
    batches = [str(task["createdAt"]) for task in found if task.get("kind") == "batch"]
    if not batches:
        return set()
    try:
        completed = _listed(api, {"status": "completed", "createdAfter": min(batches), **of_all}, clock)
        return {str(task["retryOf"]) for task in completed if "retryOf" in task}
    except (_Cut, ServerRefused, Unreachable):
        return set()


def _listed(
    api: ApiClient, only: dict[str, str], clock: Callable[[], float], pages_most: int | None = None
) -> Iterator[Json]:
    """Yield the tasks of a list with these filters.

    Raises `_Cut`, `_Passed`, and the errors of reading the first page. A page may be empty although further pages are
    not, because the server walks over a limited number of tasks for each page.
    """
    end, before = clock() + _SECONDS_MOST, ""
    query = {"limit": _PAGE, **only}
    is_first = True
    for number in count(1):
        try:
            page = api.get("/api/tasks", query)
        except (ServerRefused, Unreachable) as error:
            if is_first:
                raise
            raise _Cut(str(error), before) from None
        for task in page["tasks"]:
            before = str(task["createdAt"])
            yield task
        if page["nextCursor"] is None:
            return
        if number == pages_most:
            raise _Passed
        if clock() >= end:
            raise _Cut(f"there are too many tasks to read within {_SECONDS_MOST:.0f} s", before)
        query, is_first = {**query, "cursor": page["nextCursor"]}, False


def _judged(codes: dict[str, _Code], scope: str, wide: str, *, is_whole: bool) -> Iterator[Check]:
    """Judge the failed tasks of each code. If not all tasks could be read, no check says that none has failed.

    `scope` says which tasks were read. `wide` is the flag that makes a suggested command act on the same tenants.
    """
    dead = codes.pop("dead_lettered", None)
    if dead:
        text = f"failing messages: {many(dead.count, 'task')} dead-lettered in the last day"
        yield fault("dead-letters", text, f"npx wrangler tail (why?), then {_fix('dead_lettered', wide)}")
    elif is_whole:
        yield ok("dead-letters", f"none in the last day{scope}")
    for code, one in sorted(codes.items(), key=lambda each: each[1].at, reverse=True):
        level = Level.NOTE if code in _ASKED_FOR else Level.WARNING
        which = f"{many(one.count, 'task')}{one.whose}"
        text = f"{code}: {which} failed in the last day, the latest at {one.at}: {one.message}"
        yield Check("failures", level, text, _fix(code, wide))
    if not codes and is_whole:
        yield ok("failures", f"none in the last day{scope}")


def _fix(code: str, wide: str) -> str:
    """Return where the documents say what helps, and the command that retries the tasks if a retry can help."""
    place, may_retry = HELP.get(code, ("docs/runbook.md", False))
    retry = f"; after the repair, onceover retry --failed --error-code {code}{wide}" if may_retry else ""
    return f"{place}{retry}"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

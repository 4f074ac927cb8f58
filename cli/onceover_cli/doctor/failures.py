"""Checks the tasks that failed in the last day: of all tenants if the key may read them, else of the key's own."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json, many
from .findings import Check, fault, ok, warning

_LOOKED_BACK: Final = timedelta(days=1)
# Failed tasks of the last day were created within two days, because a task may wait for its model for a day before it
# fails (`MODEL_PATIENCE_SECONDS`).
_CREATED_WITHIN: Final = 2 * _LOOKED_BACK
_PAGE: Final = "100"
_SECONDS_MOST: Final = 60.0
# The most pages of older tasks that are read: an older task can have failed today if a client retried it. The server
# walks over up to 500 tasks for a page, and each is a row that D1 reads.
_OLDER_PAGES_MOST: Final = 20
# Codes of failures by a client's own terms, which are no fault of the deployment.
_ASKED_FOR: Final = frozenset({"deadline_exceeded", "budget_exhausted"})


class _Cut(Exception):
    """Raised if not all pages of tasks could be read.

    `before` is the time of creation of the last task that was read.
    """

    def __init__(self, why: str, before: str) -> None:
        super().__init__(why)
        self.before = before


class _Passed(Exception):
    """Raised if the list of tasks has more than _OLDER_PAGES_MOST pages of older tasks."""


def failures(api: ApiClient, now: datetime, clock: Callable[[], float] = time.monotonic) -> Iterator[Check]:
    """Check the tasks that failed in the last day, dead letters first."""
    codes: Counter[str] = Counter()
    cut: _Cut | None = None
    passed_over = ""
    young = _stamp(now - _CREATED_WITHIN)
    try:
        of_all = {"tenant": "*"} if _may_read_all(api) else {}
        for task in _failed(api, {"createdAfter": young, **of_all}, now, clock):
            codes[str(task["error"]["code"])] += 1
        for task in _failed(api, {"createdBefore": young, **of_all}, now, clock, pages_most=_OLDER_PAGES_MOST):
            codes[str(task["error"]["code"])] += 1
    except _Passed:
        passed_over = "; of tasks older than two days, which fail again if they are retried, only the newest were read"
    except _Cut as found:
        cut = found
    except (ServerRefused, Unreachable):
        return  # another check of the doctor reports why tasks cannot be read
    wide = " --tenant '*'" if of_all else ""
    whose = ", of all tenants" if of_all else ", of the key's tenant" if api.where.key else ""
    yield from _judged(codes, f"{whose}{passed_over}", wide, is_whole=cut is None)
    if cut is not None:
        since = f" --created-before {cut.before}" if cut.before and not of_all else ""
        fix = f"onceover list --status failed{wide}{since}"
        yield warning("failures", f"only a part of the last day could be checked: {cut}", fix)


def _may_read_all(api: ApiClient) -> bool:
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
    """Yield the tasks that failed within the last day.

    Raises `_Cut`, `_Passed`, and the errors of reading the first page. `only` has further filters for the list of
    tasks. A page may be empty although further pages are not, because the server walks over a limited number of tasks
    for each page.
    """
    end, before = clock() + _SECONDS_MOST, ""
    query = {"status": "failed", "limit": _PAGE, **only}
    since = now - _LOOKED_BACK
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
            if task["error"] and datetime.fromisoformat(task["finishedAt"] or before) >= since:
                yield task
        if page["nextCursor"] is None:
            return
        if number == pages_most:
            raise _Passed
        if clock() >= end:
            raise _Cut(f"there are too many tasks to read within {_SECONDS_MOST:.0f} s", before)
        query, is_first = {**query, "cursor": page["nextCursor"]}, False


def _judged(codes: Counter[str], scope: str, wide: str, *, is_whole: bool) -> Iterator[Check]:
    """Judge the counts of failed tasks. If not all tasks could be read, the check does not report that no task has
    failed.

    `scope` says which tasks were read. `wide` is the flag that makes a suggested command act on the same tenants.
    """
    dead = codes.pop("dead_lettered", 0)
    if dead:
        fix = "npx wrangler tail (why?), then onceover retry --failed --error-code dead_lettered" + wide
        yield fault("dead-letters", f"failing messages: {many(dead, 'task')} dead-lettered in the last day", fix)
    elif is_whole:
        yield ok("dead-letters", f"none in the last day{scope}")
    for code in _ASKED_FOR:
        codes.pop(code, None)
    if codes:
        said = ", ".join(f"{count} {code}" for code, count in codes.most_common())
        worst = next(code for code, _ in codes.most_common())
        fix = (
            f"onceover list --status failed{wide}; after the repair, onceover retry --failed --error-code {worst}{wide}"
        )
        yield warning("failures", f"tasks that failed in the last day: {said}", fix)
    elif is_whole:
        yield ok("failures", f"none in the last day{scope}")


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

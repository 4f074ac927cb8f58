"""The tasks that failed in the last day. All are found, however many other tasks there are."""

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
# A task may wait for its model for a day before it fails (`MODEL_PATIENCE_SECONDS`).
_CREATED_WITHIN: Final = 2 * _LOOKED_BACK
_PAGE: Final = "100"
_SECONDS_MOST: Final = 60.0
# An older task can fail today if a client retried it. A page walks over 500 tasks, and each is a row that D1 reads.
_OLDER_PAGES_MOST: Final = 20
# Failures that the client asked for are no fault of the deployment.
_ASKED_FOR: Final = frozenset({"deadline_exceeded", "budget_exhausted"})


class _Cut(Exception):
    """Not all pages could be read. `before` is when the last task that was read had been created."""

    def __init__(self, why: str, before: str) -> None:
        super().__init__(why)
        self.before = before


class _Passed(Exception):
    """There are more pages of old tasks than are worth reading."""


def failures(api: ApiClient, now: datetime, clock: Callable[[], float] = time.monotonic) -> Iterator[Check]:
    """Check the tasks that failed in the last day, dead letters first."""
    codes: Counter[str] = Counter()
    cut: _Cut | None = None
    passed_over = ""
    young = _stamp(now - _CREATED_WITHIN)
    try:
        for task in _failed(api, {"createdAfter": young}, now, clock):
            codes[str(task["error"]["code"])] += 1
        for task in _failed(api, {"createdBefore": young}, now, clock, pages_most=_OLDER_PAGES_MOST):
            codes[str(task["error"]["code"])] += 1
    except _Passed:
        passed_over = "; of tasks older than two days, which fail again if they are retried, only the newest were read"
    except _Cut as found:
        cut = found
    except (ServerRefused, Unreachable):
        return  # another check reports what keeps tasks from being read
    yield from _judged(codes, passed_over, is_whole=cut is None)
    if cut is not None:
        since = f" --created-before {cut.before}" if cut.before else ""
        yield warning(
            "failures", f"only a part of the last day could be checked: {cut}", f"onceover list --status failed{since}"
        )


def _failed(
    api: ApiClient, only: dict[str, str], now: datetime, clock: Callable[[], float], pages_most: int | None = None
) -> Iterator[Json]:
    """Yield the tasks that failed within the last day. Raises `_Cut`, `_Passed`, and the errors of the first page.

    `only` limits when the tasks were created. An empty page need not be the last one: a page skips a limited number of
    tasks that have not failed.
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


def _judged(codes: Counter[str], passed_over: str, *, is_whole: bool) -> Iterator[Check]:
    """Judge the counts. A partial count never yields "all is well". `passed_over` says what else was not read."""
    dead = codes.pop("dead_lettered", 0)
    if dead:
        fix = "npx wrangler tail (why?), then onceover retry --failed --error-code dead_lettered"
        yield fault("dead-letters", f"failing messages: {many(dead, 'task')} dead-lettered in the last day", fix)
    elif is_whole:
        yield ok("dead-letters", f"none in the last day{passed_over}")
    for code in _ASKED_FOR:
        codes.pop(code, None)
    if codes:
        said = ", ".join(f"{count} {code}" for code, count in codes.most_common())
        worst = next(code for code, _ in codes.most_common())
        fix = f"onceover list --status failed; after the repair, onceover retry --failed --error-code {worst}"
        yield warning("failures", f"tasks that failed in the last day: {said}", fix)
    elif is_whole:
        yield ok("failures", f"none in the last day{passed_over}")


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

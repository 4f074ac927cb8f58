"""The tasks that failed in the last day. All are found, however many other tasks there are."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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
# Failures that the client asked for are no fault of the deployment.
_ASKED_FOR: Final = frozenset({"deadline_exceeded", "budget_exhausted"})


class _Cut(Exception):
    """Not all pages could be read. `before` is when the last task that was read had been created."""

    def __init__(self, why: str, before: str) -> None:
        super().__init__(why)
        self.before = before


def failures(api: ApiClient, now: datetime, clock: Callable[[], float] = time.monotonic) -> Iterator[Check]:
    """Check the tasks that failed in the last day, dead letters first."""
    codes: Counter[str] = Counter()
    cut: _Cut | None = None
    try:
        for task in _failed(api, now, clock):
            codes[str(task["error"]["code"])] += 1
    except _Cut as found:
        cut = found
    except (ServerRefused, Unreachable):
        return  # another check reports what keeps tasks from being read
    yield from _judged(codes, is_whole=cut is None)
    if cut is not None:
        since = f" --created-before {cut.before}" if cut.before else ""
        yield warning(
            "failures", f"only a part of the last day could be checked: {cut}", f"onceover list --status failed{since}"
        )


def _failed(api: ApiClient, now: datetime, clock: Callable[[], float]) -> Iterator[Json]:
    """Yield the tasks that failed within the last day. Raises `_Cut`, and the errors of the first page.

    An empty page need not be the last one: a page skips a limited number of tasks that have not failed.
    """
    end, before = clock() + _SECONDS_MOST, ""
    query = {"status": "failed", "limit": _PAGE, "createdAfter": _stamp(now - _CREATED_WITHIN)}
    since = now - _LOOKED_BACK
    is_first = True
    while True:
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
        if clock() >= end:
            raise _Cut(f"there are too many tasks to read within {_SECONDS_MOST:.0f} s", before)
        query, is_first = {**query, "cursor": page["nextCursor"]}, False


def _judged(codes: Counter[str], *, is_whole: bool) -> Iterator[Check]:
    """Judge the counts. A partial count never yields "all is well"."""
    dead = codes.pop("dead_lettered", 0)
    if dead:
        fix = "npx wrangler tail (why?), then onceover retry --failed --error-code dead_lettered"
        yield fault("dead-letters", f"failing messages: {many(dead, 'task')} dead-lettered in the last day", fix)
    elif is_whole:
        yield ok("dead-letters", "none in the last day")
    for code in _ASKED_FOR:
        codes.pop(code, None)
    if codes:
        said = ", ".join(f"{count} {code}" for code, count in codes.most_common())
        worst = next(code for code, _ in codes.most_common())
        fix = f"onceover list --status failed; after the repair, onceover retry --failed --error-code {worst}"
        yield warning("failures", f"tasks that failed in the last day: {said}", fix)
    elif is_whole:
        yield ok("failures", "none in the last day")


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

"""`GET /api/ai-status`: the health of the model, which is the worse of what its probe says and what happened to tasks.

What happened comes from the tasks that have not ended, and from the sums over those that ended in the last minutes.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, NotRequired, TypedDict

from pydantic import Field

from ...kernel.api.access.access import caller_of
from ...kernel.api.base.endpoint import Access
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import Refusal
from ...kernel.api.base.services import Api
from ...kernel.api.base.views import Count, Time, maybe_rfc3339, rfc3339, shown
from ...kernel.domain import limits
from ...kernel.domain.codes import OF_SERVICE, TaskCode
from ...kernel.domain.errors import StoreError
from ...kernel.domain.task import Status
from ...kernel.store.absence import AbsenceStore, UnfinishedTasks
from ...kernel.store.tallies import BUCKET_MS, FAILED_WITH
from ...kernel.work.sweep.own_duties import Folding
from .checks import Checked, ModelCheck, SharedRead, probe
from .tallies import FiveMinutes, TallyStore

type HealthStatus = Literal["healthy", "degraded", "unavailable"]
BY_GRAVITY: Final[tuple[HealthStatus, ...]] = ("healthy", "degraded", "unavailable")
_WINDOW_MS = round(limits.HEALTH_SECONDS * 1000)


class Calls(NamedTuple):
    """What happened to the calls of tasks.

    `waiting` counts the tasks that wait for their model, by tenant. `codes` counts the tasks that wait or have failed
    for a cause of the service, by code, and `tasks` those that wait or have ended. `since` is when the first waiting
    task found its model away, or else the beginning of the five minutes in which tasks began to fail.
    """

    status: HealthStatus = "healthy"
    since: int | None = None
    waiting: Mapping[str, int] = {}
    codes: Mapping[TaskCode, int] = {}
    tasks: int = 0


class CallsCheck(SharedRead[Calls | None]):
    """What last was read of calls, None if the database did not answer."""

    seconds = limits.HEALTH_READ_SECONDS


class ShownHealth(NamedTuple):
    """The health of the model, the last probe, and what happened to calls, None if the database did not answer."""

    status: HealthStatus
    checked: Checked
    calls: Calls | None


@shown
class CauseView(TypedDict):
    """A cause of the service, and its share of the tasks that wait for the model or ended in the last 15 minutes.

    Operators also see how many `tasks` wait or failed for it.
    """

    code: TaskCode
    share: Annotated[float, Field(ge=0, le=1)]
    tasks: NotRequired[Count]


@shown
class ModelStatusView(TypedDict):
    """Whether model calls work, as anyone may see it. `checkedAt` is the time of the last probe of the model."""

    status: HealthStatus
    checkedAt: Time


@shown
class ModelView(ModelStatusView):
    """Whether model calls work, and why not, for keys with the scope `read`.

    `degraded`: tasks wait for the model, or of the tasks that ended in the last 15 minutes (counted in steps of five)
    a fifth failed for a cause of the service. `unavailable`: tasks wait for it, and none succeeded in that time. If the
    probe found worse, that is the status; `detail` is what the probe found. `waiting` counts the tasks of the key's
    tenant that wait for the model, for operators those of all tenants; of all tenants together the first 1,000
    unfinished tasks are counted. `since` is null if no task waits and none failed for a cause of the service.
    """

    provider: str
    model: str
    detail: str
    since: Time | None
    waiting: Count
    codes: list[CauseView]


async def health_of(api: Api) -> ShownHealth:
    """Probe the model, and read what happened to calls. Each is done once in some seconds for all requests."""
    checked = await api.isolate.of(ModelCheck).read(lambda: probe(api.provider, api.now_ms))
    calls = await api.isolate.of(CallsCheck).read(lambda: _calls(api))
    statuses = {checked.health.status, "healthy" if calls is None else calls.status}
    return ShownHealth(max(statuses, key=BY_GRAVITY.index), checked, calls)


async def _calls(api: Api) -> Calls | None:
    try:
        await Folding(api.store, api.settings, api.log).run()
        unfinished = await api.store.beside(AbsenceStore).unfinished(limits.HEALTH_TASKS_MOST, _WINDOW_MS)
        # The oldest step of five minutes may have begun before the window.
        _, ended = await api.store.beside(TallyStore).history(_WINDOW_MS + BUCKET_MS)
    except StoreError as error:
        api.log.failure("health_unread", error)
        return None
    return judged(unfinished, ended)


def judged(unfinished: list[UnfinishedTasks], ended: Mapping[int, FiveMinutes]) -> Calls:
    """Judge the unfinished tasks, and the sums over those that ended, by the beginning of their five minutes."""
    waiting: Counter[str] = Counter()
    codes: Counter[TaskCode] = Counter()
    for group in unfinished:
        if group.is_away:
            waiting[group.tenant] += group.tasks
            if group.code is not None:
                codes[group.code] += group.tasks
    failed, since, ends, completed = 0, None, 0, 0
    for at, minutes in ended.items():
        sums = minutes.ended
        ends += sum(one["ended"] for one in sums.values())
        completed += sums[Status.COMPLETED]["ended"] if Status.COMPLETED in sums else 0
        causes = Counter({code: sum(one[FAILED_WITH[code]] for one in sums.values()) for code in OF_SERVICE})
        codes += causes
        failed += causes.total()
        since = at if since is None and causes.total() else since
    succeeds = completed > 0 or any(group.succeeds for group in unfinished)
    status: HealthStatus = "healthy"
    if waiting:
        status = "degraded" if succeeds else "unavailable"
    elif failed and failed >= limits.HEALTH_SHARE * ends:
        status = "degraded"
    aways = [group.since for group in unfinished if group.is_away and group.since is not None]
    return Calls(status, min(aways, default=since), waiting, codes, ends + waiting.total())


async def read_model(exchange: Exchange) -> Reply:
    """Show whether model calls work. The check of the model makes no paid call."""
    api = exchange.api
    status, checked, calls = await health_of(api)
    least = ModelStatusView(status=status, checkedAt=rfc3339(checked.at_ms))
    tenant, is_operator = await _reader(exchange)
    if tenant is None:
        return json_reply(200, least)
    found = calls or Calls()
    counted = [(code, tasks) for code, tasks in Counter(found.codes).most_common() if tasks]
    causes = [CauseView(code=code, share=round(tasks / found.tasks, 4)) for code, tasks in counted]
    if is_operator:
        causes = [CauseView(**cause, tasks=found.codes[cause["code"]]) for cause in causes]
    view = ModelView(
        **least,
        provider=api.provider.name,
        model=api.settings.model or api.provider.default_model,
        detail=checked.health.detail + (", but calls fail" if status != checked.health.status else ""),
        since=maybe_rfc3339(found.since),
        waiting=sum(found.waiting.values()) if is_operator else found.waiting.get(tenant, 0),
        codes=causes,
    )
    return json_reply(200, view)


async def _reader(exchange: Exchange) -> tuple[str | None, bool]:
    """Return the tenant that may read more, None without such a key, and if it operates; never refuse monitors."""
    api, request = exchange.api, exchange.request
    if api.settings.require_keys and "authorization" not in request.headers:
        return None, False
    try:
        caller = await caller_of(request, api, Access.ANY_KEY)
    except (Refusal, StoreError):
        return None, False
    is_operator = caller.may_administer or not api.settings.require_keys
    return caller.tenant if is_operator or caller.may_read else None, is_operator

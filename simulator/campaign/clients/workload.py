"""Describes the workload of a run (what clients submit and do, what operators deploy), and draws it from a seed."""

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal

from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.tenants import TENANTS
from simulator.campaign.subject import featured
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.rate_limits import RateLimit
from src.kernel.domain.ids import LOCAL

type Action = Literal["cancel", "retry", "delete", "poll", "chunks", "list", "intrude", "status", "mend"]
type Reduce = Literal["concat", "merge", "none"]

ACTIONS: tuple[Action, ...] = ("cancel", "retry", "delete", "poll", "chunks")
DEPLOYMENTS = (TOP, FREE, DIRECT)
CHUNK_CHARS = 10
MODEL = "simulated-1"
PATIENCE = "MODEL_PATIENCE_SECONDS"
LIMITS_OF_TENANTS = ("MAX_TASKS_IN_FLIGHT", "MAX_CHARACTERS_PER_DAY")
# Longer than an isolate may stand still: a client that sends a request again must still find the request's task.
SHORT_RETENTION_DAYS = 0.008
LONG_CHUNKS = 13  # With `small_limits` a task of 13 chunks has two lanes.
SLOW_CALL_SECONDS = 50.0  # A slow model call takes this long, which is less than the timeout in `SLOW_VARIABLES`.
SLOW_VARIABLES = {"AI_TIMEOUT_SECONDS": "60", "LEASE_SECONDS": "80"}


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One submission `at` a time (seconds), and what its client does after the answer (`actions`, in seconds after it).

    The first chunk can be special: if `refused` the model rejects it for good, if `poisoned` the model fails each call
    for it while faults last, if `slow` a call for it takes SLOW_CALL_SECONDS longer, and if `cut_off` its output is cut
    off. With `response` the task comes through `/v1/responses`, without `reduce: none`. If `idempotent`, the client's
    request has an idempotency key. A `twin` submits the same request at the same time, and with `other` the client then
    sends other requests under the same key. If `polled` is set, the client finally polls until the task has ended, and
    each poll waits `polled` seconds. `followed` is the number of clients that follow the task by its events. `form`
    names the schema of `forms.FORMS` that the outputs must fit. With `gap_share` the task may leave gaps of this
    share of its text. With `text_in_file` the task names a file with its text, which begins with a byte order mark if
    it is `marked`, and is no UTF-8 if it is `broken`. With `drops_file` the client tries to delete the file. So many
    characters of `context`, and with `headings` those above a chunk, go along with each chunk. The first one says so,
    and with `headings` some others are headings.
    """

    at: float
    chunks: int
    reduce: Reduce = "concat"
    overlap: int = 0
    refused: bool = False
    slow: bool = False
    actions: tuple[tuple[float, Action], ...] = ()
    deadline_seconds: float | None = None
    max_calls: int | None = None
    max_cost: str | None = None
    idempotent: bool = False
    twin: bool = False
    other: bool = False
    tenant: str = LOCAL
    polled: float | None = None
    followed: int = 0
    response: bool = False
    cut_off: bool = False
    poisoned: bool = False
    form: str = ""
    gap_share: float | None = None
    text_in_file: Literal["", "whole", "marked", "broken"] = ""
    drops_file: bool = False
    context: int = 0
    headings: bool = False

    def body(self, tag: str) -> dict[str, Any]:
        """Return the body of the request. All tasks have similar texts; only `instructions` tells them apart."""
        marks = (("p", self.poisoned), ("x", self.refused), ("z", self.slow), ("y", self.cut_off), ("w", True))
        first = next(letter for letter, holds in marks if holds)
        end = "\n" if self.headings else " "
        parts = [f"{'w' if at else first}{at:03d} abc.{end}" for at in range(self.chunks)]
        if self.headings:
            parts[1::3] = [f"{'##'[at % 2 :]} h{at:03d}".ljust(9, "d") + end for at in range(1, self.chunks, 3)]
        options = {"maxChars": CHUNK_CHARS, "overlapChars": self.overlap}
        body: dict[str, Any] = {"instructions": tag, "reduce": self.reduce, "chunk": options}
        if self.context or self.headings:
            parts[0] = f"{first}000 +{self.context:02d}{'h' if self.headings else '.'}{end}"
            body |= {"contextChars": self.context, "headings": self.headings}
        body["input"] = "".join(parts)
        terms = {"deadlineSeconds": self.deadline_seconds, "maxModelCalls": self.max_calls, "maxCost": self.max_cost}
        return body | {name: value for name, value in terms.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Change:
    """A deployment or, with `restart`, a SIGKILL of everything, `at` a moment (seconds after the begin of the run)."""

    at: float
    deployment: Deployment
    restart: bool = False
    lose_queue: bool = False
    kill: bool = False
    concurrency: int = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """All inputs of a run apart from its schedule and its faults."""

    tasks: tuple[TaskSpec, ...]
    changes: tuple[Change, ...] = ()
    first: Deployment = TOP
    last: Deployment = TOP
    plan: Literal["free", "paid"] = "paid"
    retention_days: float = 30
    queue_mode: Literal["production", "local"] = "production"
    batch: int = 1
    consumers: int = 4
    short_slices: bool = True
    small_parts: bool = False
    small_windows: bool = False
    resumes: bool = False  # Whether an operator now and then ends the pauses of tasks that wait for the model.
    month_turns_at: float | None = (
        None  # When the month ends (seconds), if operators change prices and caps of tenants.
    )
    strict_gates: bool = True
    cron: bool = True
    queue_fate: Literal["", "send_failed", "retries_exhausted"] = ""  # How the queue always fails.
    variables: dict[str, str] = field(default_factory=dict)
    sits_out: bool = False  # True if faults last until the model is back.
    rate_limit: RateLimit | None = None  # The limiter of requests, None if the Worker has none.
    webhooks: bool = False  # True if tenants have webhook endpoints.
    hanging: str = ""  # The tenant whose receivers all hang, empty if none.
    older_isolates: float = 0.0  # The share of isolates whose code does not know the newest migration.
    batches: tuple[BatchSpec, ...] = ()
    bucket: bool = False  # True if each deployment binds a bucket of R2.
    modest: str = ""  # A tenant whose tasks must end soon, whatever the other tenants do; '' if there is none.

    @property
    def patience_seconds(self) -> float:
        """How many seconds tasks wait for a model that is away."""
        return float(self.variables.get(PATIENCE, "0"))

    @property
    def keyed(self) -> bool:
        """Whether requests need an API key."""
        tenants = [spec.tenant for spec in self.tasks] + [spec.tenant for spec in self.batches]
        return any(tenant != LOCAL for tenant in tenants)


def is_filed(workload: Workload) -> bool:
    """Whether some task has its text in a file."""
    return any(spec.text_in_file for spec in workload.tasks)


def draw(rng: Random) -> Workload:
    """Draw tasks with their clients' actions, deployments, and settings of the queue and the Worker."""
    long_one = rng.random() < 0.15
    count = rng.choice((2, 3, 4, 4, 4, 5, 6))
    tasks = tuple(_task(rng, long=long_one and at == 0) for at in range(count))
    changes = tuple(_change(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    first = rng.choice((TOP, FREE) if long_one else DEPLOYMENTS)
    return Workload(
        tasks=tasks,
        changes=changes,
        first=first,
        last=rng.choice((first, *DEPLOYMENTS)),
        plan="free" if rng.random() < 0.3 else "paid",
        retention_days=SHORT_RETENTION_DAYS if rng.random() < 0.04 else 30,
        queue_mode="local" if rng.random() < 0.25 else "production",
        batch=rng.choice((1, 1, 3)),
        consumers=rng.choice((1, 1, 4)),
        short_slices=rng.random() < 0.5,
        small_parts=rng.random() < 0.2,
        strict_gates=rng.random() < 0.7,
    )


def with_terms(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In half of the runs, draw the clients' terms, cancellations and repeated sends, the tenants and their limits.

    With `always` every run has terms, cancellations and limits, and at least one cancellation, one deadline and one
    budget.
    """
    if not always and rng.random() < 0.5:
        return workload
    share = rng.choice((0.3, 0.6, 1.0))
    tenants = rng.choice((*((LOCAL,),) * 3, TENANTS[:1], TENANTS))
    tasks = [_with_terms(spec, rng, share, tenants) for spec in workload.tasks]
    if always:
        tasks[0] = replace(tasks[0], deadline_seconds=_deadline(rng))
        tasks[1] = replace(tasks[1], max_calls=_calls(tasks[1], rng))
        tasks[-1] = _cancelled(tasks[-1], rng)
    return _limited(replace(workload, tasks=tuple(tasks)), rng)


def patient(workload: Workload, rng: Random) -> Workload:
    """In a tenth of the runs, set a call's timeout to more seconds than an invocation may go on after its answer.

    In runs with such a long timeout no invocation of a request works on a task, so on the direct route the sweep begins
    each task.
    """
    if rng.random() < 0.9:
        return workload
    return replace(workload, variables=workload.variables | {"AI_TIMEOUT_SECONDS": "28"})


def slow(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In 6 % of the runs, make most tasks' first call very slow. Clients cancel or erase most of the slow tasks."""
    if not always and rng.random() >= 0.06:
        return workload
    tasks = tuple(_slow(spec, rng) if rng.random() < 0.7 else spec for spec in workload.tasks)
    return replace(workload, tasks=tasks, variables=workload.variables | SLOW_VARIABLES)


def _slow(spec: TaskSpec, rng: Random) -> TaskSpec:
    at = rng.uniform(0, SLOW_CALL_SECONDS)
    then: list[tuple[float, Action]] = [(at + rng.uniform(0, 10), "retry")] if rng.random() < 0.4 else []
    ends: list[tuple[float, Action]] = [(at, rng.choice(("cancel", "cancel", "delete"))), *then]
    return replace(spec, slow=True, actions=tuple(sorted((*spec.actions, *(ends if rng.random() < 0.8 else ())))))


def placed(workload: Workload, rng: Random) -> Workload:
    """In 6 % of the runs, let all objects together work on at most one or two tasks at a time."""
    if rng.random() >= 0.06:
        return workload
    return replace(workload, variables=workload.variables | {"MAX_OBJECTS_AT_WORK": str(rng.choice((1, 2)))})


def bearing(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """Let tasks wait for an absent model in half of the runs, or with `always` in all, with faults until it is back."""
    if not always and rng.random() < 0.5:
        return workload
    return replace(workload, variables=workload.variables | {PATIENCE: "3600"}, sits_out=always)


# The prices of a run are numbered, and the limit of output of a call tells with which one its worker announced it.
PRICES_MOST = 3
_OUTPUT_TOKENS = 100


def price_variables(number: int) -> dict[str, str]:
    """Return the variables of the price with a number."""
    price = {"input": f"{1 + number}", "output": f"{1 + number}.000000001", "maxOutput": _OUTPUT_TOKENS}
    return {"PRICES": json.dumps({MODEL: price}), "AI_MAX_OUTPUT_TOKENS": str(_OUTPUT_TOKENS + number)}


def price_number(output_tokens: int | None) -> int:
    """Return the number of a call's price, by its limit of output."""
    return 0 if output_tokens is None else output_tokens - _OUTPUT_TOKENS


def capped(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In half of the runs with a price, let operators change prices and tenants' caps, as a month ends."""
    costs = "PRICES" in workload.variables and not workload.keyed and workload.cron
    if not costs or not (always or rng.random() < 0.5):
        return workload
    tasks = tuple(replace(spec, polled=None) for spec in workload.tasks)
    return replace(
        workload,
        tasks=tasks,
        month_turns_at=rng.choice((rng.uniform(1, 60), rng.uniform(60, 400), 400_000.0)),
        variables=workload.variables | price_variables(0),
    )


def priced(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In a fifth of the runs, give the model a price, and most tasks a cap: from one call to enough for all.

    Code of the release before knows no prices, and no costs.
    """
    if "cost" not in featured.NAMES or workload.older_isolates or not (always or rng.random() < 0.2):
        return workload
    caps = (None, "0.0005", "0.0006", f"0.00{rng.randint(1, 9)}", "1")
    tasks = tuple(spec if spec.form else replace(spec, max_cost=rng.choice(caps)) for spec in workload.tasks)
    prices = price_variables(0)["PRICES"]
    return replace(workload, tasks=tasks, variables=workload.variables | {"PRICES": prices})


def _limited(workload: Workload, rng: Random) -> Workload:
    """In a fifth of the runs, limit each tenant's tasks in flight, or its characters in a day."""
    drawn = rng.random()
    if drawn < 0.1:
        return replace(workload, variables=workload.variables | {"MAX_TASKS_IN_FLIGHT": str(rng.choice((1, 2, 3)))})
    if drawn < 0.2:
        return replace(workload, variables=workload.variables | {"MAX_CHARACTERS_PER_DAY": str(rng.choice((40, 80)))})
    return workload


def polled(workload: Workload, rng: Random) -> Workload:
    """Let each client poll its task until the task has ended."""
    return replace(workload, tasks=tuple(replace(spec, polled=rng.choice((0.5, 3.0, 25.0))) for spec in workload.tasks))


def followed(workload: Workload, rng: Random) -> Workload:
    """In a tenth of the runs, let clients follow tasks by their events."""
    if rng.random() >= 0.1:
        return workload
    return replace(workload, tasks=tuple(replace(spec, followed=rng.choice((0, 1, 1, 2))) for spec in workload.tasks))


def _with_terms(spec: TaskSpec, rng: Random, share: float, tenants: tuple[str, ...]) -> TaskSpec:
    idempotent = rng.random() < 0.6 * share
    asides: list[tuple[float, Action]] = []
    if rng.random() < 0.2 * len(tenants):
        asides.append((rng.uniform(0, 10), "list" if tenants == (LOCAL,) else rng.choice(("list", "intrude"))))
    return replace(
        _cancelled(spec, rng) if rng.random() < 0.3 * share else spec,
        deadline_seconds=_deadline(rng) if rng.random() < share else None,
        max_calls=_calls(spec, rng) if rng.random() < share else None,
        idempotent=idempotent,
        twin=idempotent and rng.random() < 0.5,
        other=idempotent and rng.random() < 0.3,
        tenant=rng.choice(tenants),
        actions=tuple(sorted((*spec.actions, *asides))),
    )


def _cancelled(spec: TaskSpec, rng: Random) -> TaskSpec:
    """Let the client cancel the task within 8 s, and in half of the cases retry it."""
    at = rng.uniform(0, 8)
    then: list[tuple[float, Action]] = [(at + rng.uniform(0, 6), "retry")] if rng.random() < 0.5 else []
    return replace(spec, actions=tuple(sorted((*spec.actions, (at, "cancel"), *then))))


def _deadline(rng: Random) -> float:
    """Draw a deadline in seconds: from hardly enough for one call to always enough."""
    return rng.choice((1.0, rng.uniform(1, 5), rng.uniform(1, 15), rng.uniform(5, 60), 600.0))


def _calls(spec: TaskSpec, rng: Random) -> int:
    """Draw a budget: from one call to ten times the task's chunks."""
    return rng.choice((1, rng.randint(1, spec.chunks), spec.chunks, spec.chunks + rng.randint(1, 3), 10 * spec.chunks))


def _task(rng: Random, *, long: bool) -> TaskSpec:
    actions: list[tuple[float, Action]] = []
    if rng.random() < 0.35:
        at = rng.uniform(0, 6)
        for _ in range(rng.randint(1, 3)):
            actions.append((at, rng.choice(ACTIONS)))
            at += rng.choice((0.0, rng.uniform(0, 10)))
    return TaskSpec(
        at=rng.choice((0.0, rng.uniform(0, 20))),
        chunks=rng.randint(LONG_CHUNKS, LONG_CHUNKS + 3) if long else rng.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 6)),
        reduce=rng.choice(("concat", "merge", "none")),
        overlap=rng.choice((0, 0, 0, 3)),
        refused=rng.random() < 0.05,
        actions=tuple(actions),
    )


def _change(rng: Random) -> Change:
    return Change(
        at=rng.uniform(1, 30),
        deployment=rng.choice(DEPLOYMENTS),
        restart=rng.random() < 0.3,
        lose_queue=rng.random() < 0.5,
        kill=rng.random() < 0.5,
        concurrency=rng.choice((1, 3, 6)),
    )

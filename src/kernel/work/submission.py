"""Accepts a task: checks its request, writes it to D1 first, so that it is durable, and then sends it to a host.

The request has the task's text and options, and where the text is cut. A request that is too large is refused.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..calls.clock import LongWork
from ..domain import limits
from ..domain.database_state import StorageUse
from ..domain.errors import CapRefused, StoreError, StoreFull, StoreUnavailable
from ..domain.ids import FileKey, TaskKey, new_task_id, task_key_of
from ..domain.meter import Meter
from ..domain.settings import Settings
from ..domain.structure import LongText
from ..domain.task import Kind, NewTask, Route, Source, Status, Task, TaskOptions, Usage, Wait
from ..run.kinds import Kinds
from ..run.log import Log
from ..run.text_inputs import TEXT
from ..store.admission import Accepted, Conditions, LimitReached, Mismatched, Outcome, Replayed
from ..store.tasks import TaskStore
from ..text.chunks import Chunk, cuts, cuts_in_portions
from ..text.merge import merge_chars
from .dispatch import Dispatcher

if TYPE_CHECKING:
    from ..store.resend import Resend


type Repeated = Literal["overlaps", "instructions", "schema", "context"]

DEFAULT_INSTRUCTIONS = (
    "Analyse the text: say what it is about, give its main points in their order, and name the people, places, "
    "dates and figures that matter. Answer in the language of the text."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A checked request. `output_schema` is JSON text, and `join_rules` say how outputs of the schema are joined."""

    text: str
    options: TaskOptions
    input_file: FileKey | None = None  # The file that has the text, in place of `text`, which is empty then.
    file_bytes: int = 0  # How many bytes the file has.
    instructions: str | None = None
    overlap_chars: int = 0
    output_schema: str | None = None
    join_rules: Mapping[str, str] = field(default_factory=dict)
    # Finds what goes along with the chunks that end at some cuts. Raises HeadingsTooLong.
    prepare: "Callable[[TaskRequest, tuple[int, ...]], Awaitable[tuple[LongText, str | None]]] | None" = None

    @property
    def kind(self) -> Kind | None:
        """What the task's chunks are."""
        return None if self.input_file is None else Kind.FILE

    def system(self) -> str:
        """The instructions that are sent to the model with each chunk."""
        return self.instructions if self.instructions is not None else DEFAULT_INSTRUCTIONS

    def source(self) -> Source:
        """Return the part of the request that the API shows with a task."""
        schema = None if self.output_schema is None else json.loads(self.output_schema)
        # The characters of a file are not counted before its text is cut.
        return Source(self.system(), self.overlap_chars, len(self.text), schema, self.join_rules or None)

    def max_chars(self, settings: Settings) -> int:
        """The most code points of a chunk: the request's limit, or the deployment's limit if the request has none."""
        return self.options.chunk_chars if self.options.chunk_chars is not None else settings.chunk_chars

    async def cut(self, settings: Settings) -> tuple[int, ...]:
        """Return where the task's text is cut into chunks. Raises TooManyChunks, or TooMuchRepeated.

        Between portions of a long text other requests have a turn. The task's worker cuts the text of a file.
        """
        if self.input_file is not None:
            return ()
        how, most = (self.text, self.max_chars(settings), self.overlap_chars), limits.CHUNKS_MOST
        if len(self.text) <= limits.WORK_CHARS_AT_ONCE:
            ends = cuts(*how, most=most)
        else:
            work, found = LongWork(), list[int]()
            await work.did(len(self.text))  # it was parsed and checked
            for part in cuts_in_portions(*how, limits.WORK_CHARS_AT_ONCE, most=most):
                found += part
                await work.did(limits.WORK_CHARS_AT_ONCE)
            ends = tuple(found)
        repeated = self.repeated(len(ends))
        if len(self.text) + sum(repeated.values()) > limits.SENT_CHARS_MOST:
            raise TooMuchRepeated(max(repeated, key=repeated.__getitem__))
        return ends

    def repeated(self, chunks: int) -> dict[Repeated, int]:
        """Return how many characters the calls for so many chunks repeat."""
        return repeated_chars(chunks, self.overlap_chars, self.system(), self.output_schema, self.options.long_text)


class HeadingsTooLong(ValueError):
    """The headings above the chunks are too long to be stored beside the text."""


def repeated_chars(
    chunks: int, overlap: int, instructions: str, schema: str | None, long_text: LongText | None
) -> dict[Repeated, int]:
    """Return how many characters the calls for so many chunks repeat, by what they repeat."""
    return {
        "overlaps": (chunks - 1) * overlap,
        "instructions": chunks * len(instructions),
        "schema": chunks * len(schema or ""),
        "context": chunks * (long_text.context_chars + limits.PROMPT_CHARS)
        if long_text and long_text.goes_along
        else 0,
    }


class Planned(NamedTuple):
    """The chunks that a task would have, how many characters its text has, and the tokens of its calls, estimated."""

    chunks: Sequence[Chunk]
    characters: int
    tokens: int


class TooMuchRepeated(ValueError):
    """All chunks' calls would together send more than SENT_CHARS_MOST characters, and repeat mostly `mostly`."""

    def __init__(self, mostly: Repeated) -> None:
        super().__init__(f"the chunks repeat too much: {mostly}")
        self.mostly: Final = mostly


class BudgetTooSmall(ValueError):
    """A task's budget of calls is too small: the task needs `minimum` calls even without failures."""

    def __init__(self, minimum: int) -> None:
        super().__init__(f"fewer calls than the {minimum} that are needed")
        self.minimum: Final = minimum


def check_budget(options: TaskOptions, minimum: int) -> None:
    """Raise BudgetTooSmall if the task's budget is smaller than its number of calls without failures."""
    if options.max_calls is not None and options.max_calls < minimum:
        raise BudgetTooSmall(minimum)


# Returns the most that the first call of a request, with the text of the first chunk, can cost; -1 without a price.
type FirstMost = Callable[[TaskRequest, str], int]
REPLAYS_MOST = 3  # How often a submission is tried: the task of an earlier request may have just been erased.


class Submitted(NamedTuple):
    """The task of an accepted submission."""

    task: Task
    # true if the task was made by an earlier request with the same idempotency key, or by an earlier send of an SDK
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """Makes tasks from checked requests, and makes retried tasks pending again."""

    store: TaskStore
    dispatcher: Dispatcher
    settings: Settings
    now_ms: Callable[[], int]  # A function that returns the isolate's time in ms since the epoch.
    entropy: Callable[[int], bytes]  # A function that returns the given number of random bytes.
    meter: Meter  # Counts what the invocation has spent of its allowance.
    storage: StorageUse  # What the isolate knows of the database's size and space.
    log: Log
    after_answer: Callable[[Awaitable[None]], None]  # runs the dispatch of a task after the answer is sent
    kinds: Kinds = MappingProxyType({})
    first_most: "FirstMost | None" = None  # What the first call can cost at most.

    async def submit(
        self,
        tenant: str,
        request: TaskRequest,
        idempotency_key: str | None = None,
        digest: str = "",
        resend: "Resend | None" = None,
    ) -> Submitted | Mismatched | LimitReached:
        """Write a new task, or return why it was not written. Raises StoreError only if nothing was accepted.

        `submit` also raises the errors of `TaskRequest.cut`, and TextFileGone. A written task counts as accepted, and
        is dispatched after the answer, which names the route that is tried first. If the dispatch fails, the sweep
        finds the task. If the idempotency key was used before, `digest`, that of the request's body, must be equal.
        Without a key, `resend` identifies a request that an SDK repeats.
        """
        for _ in range(REPLAYS_MOST):
            later_ms = max(0, (request.options.starts_at or 0) - self.now_ms())
            conditions = self.conditions(idempotency_key, digest, resend)._replace(later_ms=later_ms)
            new = await self._new(tenant, request)
            outcome: Outcome | None = await self.refused_by_storage(new.task_key, conditions)
            if outcome is None:
                kind = TEXT if new.kind is None else self.kinds[new.kind]()
                insert = partial(kind.insert, self.store, new, self.settings.lease_ms, conditions)
                outcome = await self.written(new, conditions, insert)
            if isinstance(outcome, Accepted):
                if not later_ms:  # the sweep dispatches a task that is to start later
                    self.after_answer(self.send(new, crowded=outcome.crowded))
                route = self.dispatcher.first_choice(crowded=outcome.crowded)
                return Submitted(fresh_task(new, request.source(), route))
            if not isinstance(outcome, Replayed):
                return outcome
            if (task := await self.store.task(outcome.task_key)) is not None:
                self.log("replayed", task=task.task_key)
                return Submitted(task, replayed=True)
            # The task of the idempotency key was just erased, together with the key, so the request is submitted again.
        raise StoreUnavailable("the task of the idempotency key is erased again and again")

    async def send(self, new: NewTask, *, crowded: bool) -> None:
        """Dispatch a new task, and write to the log that it was accepted."""
        route = await self.dispatcher.dispatch(new.task_key, crowded=crowded)
        facts = {"route": route, "chunks": len(new.cuts) or None, "crowded": crowded or None}
        self.log("accepted", task=new.task_key, **facts, **self.meter.facts())

    async def retry(
        self, task_key: TaskKey, max_calls: int | None = None, max_cost: int | None = None
    ) -> Accepted | None:
        """Make a failed or cancelled task pending again, without dispatching it (see `AdmissionStore.retry`)."""
        return await self.store.retry(task_key, self.settings.lease_ms, self.conditions(), max_calls, max_cost)

    def conditions(
        self, idempotency_key: str | None = None, digest: str = "", resend: "Resend | None" = None
    ) -> Conditions:
        """Return the conditions of a submission: the deployment's limits, and the request's idempotency key."""
        shared = self.dispatcher.has(Route.QUEUE) and self.dispatcher.has(Route.DURABLE_OBJECT)
        return Conditions(
            idempotency_key=idempotency_key,
            digest=digest,
            tasks_in_flight_most=self.settings.tasks_in_flight_most,
            characters_a_day_most=self.settings.characters_a_day_most,
            queue_share=limits.QUEUE_SHARE if shared else None,
            resend=resend,
        )

    async def refused_by_storage(self, task_key: TaskKey, on: Conditions) -> Replayed | Mismatched | None:
        """Return None if a task may be written, else what an earlier request has made, or raise StoreFull.

        An isolate that refuses tasks for lack of space measures the database's size again with the first request after
        STORAGE_MEASURE_SECONDS, and with each request that has an idempotency key.
        """
        most = self.settings.storage_bytes_most
        if not self.storage.is_over(most):
            return None
        is_old = asyncio.get_running_loop().time() - self.storage.measured_at > limits.STORAGE_MEASURE_SECONDS
        if on.may_be_replayed or is_old:
            earlier = await self.store.key_holder(task_key, on)
            if earlier is not None or not self.storage.is_over(most):
                return earlier
        self.log("storage_full", bytes=self.storage.size, most=most)
        raise StoreFull("the database has reached STORAGE_MB_MOST")

    async def written[O](
        self, new: NewTask, on: Conditions, insert: Callable[[], Awaitable[O]], *, characters: int | None = None
    ) -> O | Accepted:
        """Write a new task with the function `insert`, and return the outcome of its submission.

        `characters` is how many characters count against the tenant's limit; by default those of the text. If D1's
        answer was lost, `_landed` finds the task or withdraws it.
        """
        try:
            outcome = await insert()
        except StoreUnavailable as error:
            # A write that found no space did not take effect, but an earlier send of it may have.
            may_have_landed = error.sends > 1 if isinstance(error, StoreFull) else error.passing
            if not (may_have_landed or error.withdrawing):
                raise
            if await self._landed(new, on, withdrawing=error.withdrawing, characters=characters):
                return Accepted()
            raise
        except CapRefused as error:
            if error.sends > 1:  # an earlier send may still land
                with suppress(StoreError):
                    await self.store.withdraw(new, on, characters=characters)
            raise
        if isinstance(outcome, Accepted):
            self.storage.took_task()
        return outcome

    async def _landed(self, new: NewTask, on: Conditions, *, withdrawing: bool, characters: int | None) -> bool:
        """Return whether a write whose answer was lost has stored the task.

        If it has not, or if that is unknown, the task is withdrawn, so that the write cannot take effect later. Once a
        withdrawal was sent (`withdrawing`), it may take effect later, so nothing was accepted even if the database
        still contains the task.
        """
        if not withdrawing:
            with suppress(StoreError):
                if await self.store.is_there(new.task_key):
                    return True
        with suppress(StoreError):
            await self.store.withdraw(new, on, characters=characters)
        return False

    def task_key(self, tenant: str) -> TaskKey:
        """Make the key for a new task."""
        return task_key_of(tenant, new_task_id(self.now_ms(), self.entropy(10)))

    async def _new(self, tenant: str, request: TaskRequest) -> NewTask:
        max_chars = request.max_chars(self.settings)
        ends, headings = await request.cut(self.settings), None
        if request.prepare is not None and request.input_file is None:
            long_text, headings = await request.prepare(request, ends)
            request = replace(request, options=replace(request.options, long_text=long_text))
        new = NewTask(
            task_key=self.task_key(tenant),
            route=self.dispatcher.first_route,
            text=request.text,
            instructions=request.system(),
            cuts=ends,
            headings=headings,
            overlap=request.overlap_chars,
            merge_chars=merge_chars(max_chars),
            created_at=self.now_ms(),
            options=replace(request.options, chunk_chars=max_chars),
            output_schema=request.output_schema,
            join_rules=request.join_rules,
            kind=request.kind,
            text_file=request.input_file,
            file_bytes=request.file_bytes,
            first_most=None if self.first_most is None else self.first_most(request, request.text[: sum(ends[:1])]),
        )
        check_budget(new.options, new.minimum_calls)
        return new


def fresh_task(new: NewTask, source: Source, route: Route) -> Task:
    """Return a task in the state in which the submission has just written it, without a read of D1."""
    deadline_ms, starts_at = new.options.deadline_ms, new.options.starts_at or 0
    return Task(
        task_key=new.task_key,
        status=Status.PENDING,
        route=route,
        options=new.options,
        total=len(new.cuts),
        completed=0,
        failed=0,
        usage=Usage(model_calls=0, minimum_calls=new.minimum_calls, in_doubt=0, input_tokens=0, output_tokens=0),
        attempts=0,
        failure=None,
        created_at=new.created_at,
        started_at=None,
        finished_at=None,
        expires_at=None,
        # By the isolate's clock. Later answers show the deadline by the database's clock, which counts.
        deadline_at=None if deadline_ms is None else max(new.created_at, starts_at) + deadline_ms,
        waiting_for=Wait("queued", None) if starts_at <= new.created_at else Wait("scheduled", starts_at),
        source=source,
        kind=new.kind,
        text_file=new.text_file,
        first_line=new.first_line,
    )

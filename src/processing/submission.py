"""Accepting a task: durable in D1 first, then on its way to a host."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..core import limits
from ..core.chunks import cuts
from ..core.errors import StoreError, StoreUnavailable
from ..core.ids import task_id
from ..core.merge import merge_chars
from ..core.meter import Meter
from ..core.settings import Settings
from ..core.states import Status
from ..core.task import NewTask, Reduce, Route, Task, Usage
from ..store.tasks import TaskStore
from .dispatch import Dispatcher
from .events import Log

DEFAULT_INSTRUCTIONS = (
    "Analyse the text: say what it is about, give its main points in their order, and name the people, places, "
    "dates and figures that matter. Answer in the language of the text."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checked request. `max_chars` None means the deployment's default."""

    text: str
    instructions: str | None = None
    reduce: Reduce = Reduce.CONCAT
    max_chars: int | None = None
    overlap_chars: int = 0
    model: str | None = None
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Submission:
    """Turns requests into tasks. `entropy` gives random bytes, `now_ms` the isolate's time."""

    store: TaskStore
    dispatcher: Dispatcher
    settings: Settings
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
    meter: Meter
    log: Log

    async def submit(self, request: Request) -> Task:
        """Write the task and dispatch it. Raises StoreError with nothing accepted, or TooManyChunks.

        Once the task is written it counts as accepted, whatever becomes of the dispatch: the sweep finds it.
        """
        new = self._new(request)
        await self._write(new)
        route = await self.dispatcher.dispatch(new.id)
        self.log("accepted", task=new.id, route=route, chunks=len(new.cuts), **self.meter.facts())
        return _fresh(new, route or new.route)

    async def _write(self, new: NewTask) -> None:
        try:
            await self.store.insert(new, self.settings.lease_ms)
        except StoreUnavailable:
            # The write may have landed, and the client is about to be told that nothing was accepted: make it true.
            with suppress(StoreError):
                await self.store.erase(new.id)
            raise

    def _new(self, request: Request) -> NewTask:
        max_chars = request.max_chars if request.max_chars is not None else self.settings.chunk_chars
        now = self.now_ms()
        return NewTask(
            id=task_id(now, self.entropy(10)),
            route=self.dispatcher.first_route,
            text=request.text,
            instructions=request.instructions if request.instructions is not None else DEFAULT_INSTRUCTIONS,
            cuts=cuts(request.text, max_chars, request.overlap_chars, most=limits.CHUNKS_MOST),
            overlap=request.overlap_chars,
            merge_chars=merge_chars(max_chars),
            reduce=request.reduce,
            model=request.model,
            metadata=request.metadata,
            created_at=now,
        )


def _fresh(new: NewTask, route: Route) -> Task:
    """Show a task as it was just written, without reading it back."""
    return Task(
        id=new.id,
        status=Status.PENDING,
        route=route,
        reduce=new.reduce,
        model=new.model,
        metadata=new.metadata,
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
    )

"""What the chunks of a task are, and what its outputs must be: what a run asks of features.

The two are apart, because a task with a schema may have its text in a file.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..calls.protocol import ModelCall, ModelReply, OutputForm
from ..domain.errors import ModelError
from ..domain.ids import TaskKey
from ..domain.settings import Settings
from ..domain.structure import Quote, Rejection
from ..domain.task import Failure, Kind, NewTask
from ..store.admission import Conditions, Outcome
from ..store.claims import NOTHING_ELSE, Also, CallKey, Claim, Ending, Money, Output
from ..store.d1 import BoundStatement, Store
from ..store.tasks import TaskStore
from .invocation import Invocation
from .log import Log

if TYPE_CHECKING:
    from .call_plan import CallPlan
    from .context import RunContext
    from .ledger import Ledger
    from .write_pacer import WritePacer


class Record(Protocol):
    """Writes a step of the claim with further statements, and with `minimum_calls` if it is given."""

    def __call__(self, also: Also, minimum_calls: int | None = None) -> Awaitable[None]:
        """Raises ClaimLost."""
        ...


class CallSource(NamedTuple):
    """What an answer is made from: a chunk's own text, which begins at `start` of the input, or outputs with quotes."""

    text: str = ""
    start: int = 0
    merged: Sequence[tuple[str, Sequence[Quote]]] = ()


class Inputs(Protocol):
    """The inputs of one claim's calls. The defaults are those of texts that are complete and small."""

    async def prepare(self, record: Record) -> "Ending | RunContext | None":
        """Do what must be done before the first call, such as to count the chunks.

        Returns how the claim ends, or the context of a new run, with what was found; None if this run goes on.
        """
        return None

    def within(self, starting: list[CallKey]) -> list[CallKey]:
        """Return those calls for whose inputs there is memory: at least one if no call is in flight."""
        return starting

    def lacks(self, keys: Sequence[CallKey]) -> CallKey | None:
        """Return the first call whose input must be read; None if the inputs of all calls are in memory."""
        ...

    async def read(self, key: CallKey, calls: int, wanted: Callable[[CallKey], bool]) -> None:
        """Read the input of a call, and those of `wanted` calls after it, up to `calls` in all. Raises ClaimLost.

        If an input cannot be read, nothing is raised, and no call starts for a while, or ever.
        """
        ...

    def message(self, key: CallKey) -> ModelCall:
        """Return the content of a call whose input is in memory."""
        ...

    def source(self, key: CallKey) -> CallSource:
        """Return what the answer to a call is made from. The input of the call must be in memory."""
        ...

    def chars_of(self, key: CallKey) -> int | None:
        """Return a chunk's size in characters without overlap; None for a merge, or if it is unknown."""
        ...

    def recorded_form(self, key: CallKey, reply: ModelReply, now_ms: int) -> ModelReply:
        """Return an accepted answer as it is recorded, and keep its output if a later call needs it."""
        ...

    def ended(self, key: CallKey) -> None:
        """Note that a call has ended, so that its input may be dropped."""
        return

    async def sizes(self, save: Callable[[], Awaitable[None]]) -> Sequence[int]:
        """Return the top level's sizes in code points, after `save` wrote what is unsaved. Raises ClaimLost."""
        ...

    def also(self, outputs: Sequence[Output]) -> Also:
        """Return what the step with these outputs writes and asks besides."""
        return NOTHING_ELSE

    def recorded(self, outputs: Sequence[Output]) -> None:
        """Note that a step with these outputs has taken effect."""
        return

    def beside(self, groups_out: int, record: Record) -> Coroutine[None, None, None] | None:
        """Return work that the run does now, beside its calls; None if there is none."""
        return None

    def close(self) -> None:
        """Give back what is held, when the run has ended."""
        return


class TaskKind(NamedTuple):
    """What the chunks of a task are. The defaults are those of a text that is stored with its task."""

    inputs: "Callable[[RunContext, CallPlan, WritePacer, Ledger], Inputs]"
    insert: Callable[[TaskStore, NewTask, int, Conditions], Awaitable[Outcome]] = TaskStore.insert
    # Finishes what the end of a task began, and returns whether that was the last of it. Raises nothing.
    after_end: Callable[[Invocation, TaskKey], Awaitable[bool]] | None = None
    always_gaps: bool = False  # A chunk that fails for good never ends the task.
    may_be_empty: bool = False  # The task may complete without an output.
    awaits_calls: bool = False  # The calls in flight are awaited, not cut off, when a client ends the task.
    reads_files: bool = False  # Inputs are read from a bucket, which may be slow, while calls are in flight.
    segment_chars: int | None = None  # So many characters fill a segment of outputs, too.


class OutputRule(Protocol):
    """What an output must be. Without a rule every text is accepted."""

    def form(self, key: CallKey) -> OutputForm | None:
        """Return the form that a call asks the model for; None if the rule asks for none."""
        ...

    def judge(self, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]) -> ModelReply | Rejection:
        """Return the reply as it is accepted, or why it is rejected: then the call is made again, or has failed.

        `source` returns what the reply was made from. The quotes of the reply are stored with the output.
        """
        ...


class InputForm(Protocol):
    """What a message for a chunk is. Without one it is the chunk's text alone."""

    def user(self, index: int, chunk: str, before: str) -> str:
        """Write the message of a chunk. `before` is the text before it that goes along."""
        ...


class CallGate(Protocol):
    """Counts what the calls of one claim cost. Such a claim announces no call before its run has read the text."""

    failure: Failure | None  # With which the task must end if no call is in flight, after a cap was reached.
    pause: float | None  # For how many seconds the next call waits for a price, or for the tenant's next month.
    polls: bool  # Whether the next call waits for the tenant's other calls.
    looks: bool  # Whether the run must look at the tenant's month, before the next call is judged.

    def within(
        self, starting: list[CallKey], out: Collection[CallKey], message: Callable[[CallKey], ModelCall]
    ) -> list[CallKey]:
        """Return the first of the calls: those that the task's cap allows beside `out`, and the next step announces."""
        ...

    async def look(self, store: Store, out: Collection[CallKey]) -> None:
        """Look at what is left of the tenant's month. All that has ended is saved; `out` is announced."""
        ...

    def wake_again(self) -> BoundStatement | None:
        """Make the statement that lets a released task go on if its cap or month has changed since the last look."""
        ...

    def ended(self, key: CallKey, outcome: ModelReply | ModelError | None) -> None:
        """Count a call that has ended. `outcome` is None if the call was not made."""
        ...

    def abandoned(self, out: Collection[CallKey]) -> None:
        """Count calls that have not ended as in doubt."""
        ...

    def totals(self, out: Collection[CallKey]) -> Money:
        """Return what the task's calls have cost, with `out` as the announced calls."""
        ...


# What gives the kinds of tasks that are not TEXT, by the value of `tasks.kind`.
type Kinds = Mapping[Kind, Callable[[], TaskKind]]
# What makes a rule for the outputs of a claim; None if the claim needs none.
type RuleMaker = Callable[[Claim, Settings], OutputRule | None]
# What makes the form of a claim's messages; None if the claim needs none.
type PromptMaker = Callable[[Claim], InputForm | None]
# What makes the gate of a claim whose calls go to a model; None if the claim needs none.
type GateMaker = Callable[[Claim, Settings, str, Log], CallGate | None]

"""Holds the inputs of a run's calls: the texts of chunks, and the outputs that merges combine.

A run keeps only the inputs of its present calls in memory. On a small allowance, a task with thousands of chunks takes
hundreds of runs, and each of them would otherwise read the whole text.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import accumulate, takewhile
from typing import Final

from ..calls.protocol import ModelCall, ModelReply
from ..domain import limits
from ..domain.structure import Quote
from ..domain.task import Reduce
from ..store.claims import CallKey
from ..text.chunks import Window
from ..text.merge import merge_message, merge_system
from .call_plan import CallPlan
from .context import ClaimLost, RunContext
from .kinds import CallSource, Inputs, TaskKind
from .ledger import Ledger
from .write_pacer import WritePacer


class CallInputs(Inputs):
    """The texts of chunks, and the outputs, that one claim's calls need. It does not refer to the run: see `Run`."""

    def __init__(self, context: RunContext, plan: CallPlan, pacer: WritePacer, ledger: Ledger) -> None:
        self._context = context
        self._claim = context.claim
        self._settings = context.settings
        self._plan = plan
        self._store = context.store
        self._pacer = pacer
        self._ledger = ledger
        self._windows = [context.claim.window]
        self._merging = context.claim.options.reduce is Reduce.MERGE
        self._outputs: dict[CallKey, str] = {}  # outputs kept in memory because a later merge needs them as input
        self._quotes: dict[CallKey, tuple[Quote, ...]] = {}  # of the outputs in memory that have some
        self._outputs_chars = 0
        self._sizes: dict[CallKey, int] = {}

    def recorded_form(self, key: CallKey, reply: ModelReply, now_ms: int) -> ModelReply:
        """Return the answer unchanged. Keep its output for a merge if memory allows, and drop what `key` has merged."""
        if self._merging:
            for member in self._members(key):
                self._outputs_chars -= len(self._outputs.pop(member, ""))
                self._quotes.pop(member, None)
            output = reply.output
            self._sizes[key] = len(output)
            if self._outputs_chars + len(output) <= limits.OUTPUTS_KEPT_CHARS:
                self._hold(key, output, reply.quotes)
        return reply

    def message(self, key: CallKey) -> ModelCall:
        """See `Inputs.message`. The content of a call is the instructions and the input."""
        instructions = self._claim.instructions
        if key.level == 0:
            window, prompt = self._window_with(key), self._context.prompt
            text = window.text_of(key.position)
            user = text if prompt is None else prompt.user(key.position, text, window.before(key.position))
            return self._ask(key, instructions, user)
        outputs = [self._outputs[member] for member in self._members(key)]
        return self._ask(key, merge_system(instructions), merge_message(outputs, self._claim.merge_chars))

    def source(self, key: CallKey) -> CallSource:
        """Return a chunk's text, or the outputs that a merge reads, with their quotes."""
        if key.level == 0:
            window = self._window_with(key)
            return CallSource(window.text_of(key.position), window.begin_of(key.position))
        return CallSource(merged=[(self._outputs[one], self._quotes.get(one, ())) for one in self._members(key)])

    def _window_with(self, key: CallKey) -> Window:
        return next(window for window in self._windows if key.position in window.chunks)

    def chars_of(self, key: CallKey) -> int | None:
        """Return a chunk's size in characters without overlap; None for a merge, or if the text is not in memory."""
        windows = (window for window in self._windows if key.position in window.chunks)
        return next((window.chars_of(key.position) for window in windows), None) if key.level == 0 else None

    def _ask(self, key: CallKey, system: str, user: str) -> ModelCall:
        options = self._claim.options
        tokens = options.max_output_tokens or self._settings.max_output_tokens
        form = next((form for rule in self._context.rules if (form := rule.form(key)) is not None), None)
        if form is not None:
            form = form._replace(rejected=self._ledger.rejections.of(key))
        return ModelCall(
            *(system, user, self._context.model, tokens, options.temperature, options.model_options, form),
            task_key=self._claim.task_key,
        )

    def lacks(self, keys: Sequence[CallKey]) -> CallKey | None:
        """Return the first call whose input must be read from D1; None if the inputs of all calls are in memory."""
        return next((key for key in keys if not self._has(key)), None)

    async def read(self, key: CallKey, calls: int, wanted: Callable[[CallKey], bool]) -> None:
        """See `Inputs.read`. Before a merge's input is read, all progress is saved. Texts not `wanted` are dropped."""
        if key.level:
            last = await self._last_read(key, calls)
            first = self._plan.members(key.position).start
            await self._read_outputs(key.level - 1, range(first, self._plan.members(last).stop))
            return
        window = await self._window(key.position, calls)
        if window is None:
            return
        if key.position not in window.chunks:
            raise ClaimLost
        self._windows = [one for one in self._windows if any(wanted(CallKey(0, index)) for index in one.chunks)]
        self._windows.append(window)

    async def _window(self, first: int, chunks: int) -> Window | None:
        """Read the text of one to `chunks` chunks, from chunk `first` on; None if it cannot be read now.

        Raises StoreError and ClaimLost.
        """
        ask = partial(self._store.window, self._claim.task_key, self._claim.fence, first, chunks)
        window = await self._pacer.with_retries(ask, writes=False)
        if window is None:
            raise ClaimLost
        return window

    async def sizes(self, save: Callable[[], Awaitable[None]]) -> Sequence[int]:
        """See `Inputs.sizes`. The sizes of outputs that this run has made are in memory."""
        keys = self._plan.keys()
        if not self._knows_sizes(keys):
            await save()
            await self._learn_sizes(keys)
        return [self._sizes[key] for key in keys]

    async def _learn_sizes(self, keys: Sequence[CallKey]) -> None:
        """Read the sizes of a level's outputs, unless they are known. Raises ClaimLost.

        A gap gets the average size of the level's outputs, so that the plan still fits if the gap is filled later.
        """
        if self._knows_sizes(keys):
            return
        ask = partial(self._store.level_sizes, self._claim.task_key, keys[0].level)
        sizes = await self._pacer.with_retries(ask, writes=False)
        there = [key for key in keys if key not in self._ledger.left_out]
        if any(key.position not in sizes for key in there):
            raise ClaimLost  # an output is deleted only together with its task
        average = sum(sizes[key.position] for key in there) // max(1, len(there))
        self._sizes.update({key: sizes.get(key.position, average) for key in keys})

    def _knows_sizes(self, keys: Sequence[CallKey]) -> bool:
        return all(key in self._sizes for key in keys)

    async def _last_read(self, key: CallKey, calls: int) -> int:
        """Return the last merge that is read together with `key`, so that all inputs have up to OUTPUTS_KEPT_CHARS."""
        behind = min(key.position + min(calls, limits.MERGE_CALLS_READ), len(self._plan.keys()))
        keys = [CallKey(key.level, position) for position in range(key.position, behind)]
        if sum(map(self._most_chars, keys)) > limits.OUTPUTS_KEPT_CHARS:
            below = self._plan.members(behind - 1).stop
            await self._learn_sizes([CallKey(key.level - 1, position) for position in range(below)])
        within = takewhile(lambda chars: chars <= limits.OUTPUTS_KEPT_CHARS, accumulate(map(self._most_chars, keys)))
        return key.position + max(1, len(list(within))) - 1

    def _most_chars(self, key: CallKey) -> int:
        """Return the total size of the outputs that a call merges, or the most that it can be if sizes are unknown."""
        members = self._members(key)
        if all(member in self._sizes for member in members):
            return sum(self._sizes[member] for member in members)
        # Only two outputs, or three at the end of a level, may together be larger than `merge_chars`.
        return self._claim.merge_chars if len(members) > 3 else len(members) * limits.OUTPUT_CHARS_MOST

    async def _read_outputs(self, level: int, places: range) -> None:
        ask = partial(self._store.level_outputs, self._claim.task_key, level, places.start, places.stop - 1)
        found = await self._pacer.with_retries(ask, writes=False)
        if len(found) != sum(CallKey(level, position) not in self._ledger.left_out for position in places):
            raise ClaimLost
        for output in found.values():
            if output.key not in self._outputs:
                self._hold(output.key, output.text, output.quotes)

    def _hold(self, key: CallKey, output: str, quotes: tuple[Quote, ...]) -> None:
        self._outputs[key] = output
        if quotes:
            self._quotes[key] = quotes
        self._outputs_chars += len(output)

    def _has(self, key: CallKey) -> bool:
        if key.level == 0:
            return any(key.position in window.chunks for window in self._windows)
        return all(member in self._outputs for member in self._members(key))

    def _members(self, key: CallKey) -> list[CallKey]:
        """Return the calls whose outputs are merged by a call of the top level, without gaps. A chunk merges none."""
        if key.level == 0:
            return []
        assert key.level == self._plan.top
        members = [CallKey(key.level - 1, position) for position in self._plan.members(key.position)]
        return [member for member in members if member not in self._ledger.left_out]


# A text that is stored with its task.
TEXT: Final = TaskKind(CallInputs)

"""The log of a task's model calls: reads it from D1, and puts it together from outputs, failures and announcements.

Each entry of the column `failures.log` is a list [fence, number, started, ended, answered, code, message, route,
model]. A reader must ignore further members of an entry of the log.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import TaskKey
from ...kernel.store.claims import CallKey, Output
from ...kernel.store.d1 import Row, Store, Value, maybe_text, maybe_whole, statement, task_code, text, whole, whole_list
from ...kernel.store.fragments import LIVE
from ...kernel.store.rows import keys, outputs


class AttemptOutcome(StrEnum):
    """How a model call ended, as far as is known. A list shows the calls for one output in this order."""

    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    SUCCEEDED = "succeeded"
    OUT = "out"


_BEHIND: Final = 1_000_000  # A number that is higher than the number of calls that an output can have.


class EntryKey(NamedTuple):
    """A place in the log: that of the `nth` known call for an output, from 1 on, or behind all calls for the output."""

    level: int
    position: int
    nth: int = _BEHIND

    @property
    def is_behind(self) -> bool:
        """Whether the place follows all calls for its output."""
        return self.nth == _BEHIND


class CallAttempt(NamedTuple):
    """A model call in the log of a task's calls. Times are milliseconds since the epoch by the database's clock.

    `number` counts the calls for the same output since the last retry. A field is None if its value is unknown.
    """

    key: EntryKey
    outcome: AttemptOutcome
    number: int | None = None
    answered: bool | None = None
    model: str | None = None
    route: str | None = None
    lane: int | None = None
    announced_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    code: TaskCode | None = None
    message: str | None = None


class AttemptCounts(NamedTuple):
    """How many calls the task's bill counts, and how many calls of each outcome the log knows individually."""

    calls: int
    of: Mapping[AttemptOutcome, int]


class AttemptIndex(NamedTuple):
    """Which model calls a task has made for which outputs, without the details that are stored with the outputs' texts.

    `sizes` are the lengths of the existing outputs, in code points, and `failed` is how many calls have failed for each
    output. `doubted` are the calls whose worker was lost at the latest takeover, and the calls that their worker gave
    up. `lost` are the calls announced by a worker whose lease is over, as long as no other worker has taken the task
    over. `out` are the announced calls of a live worker.
    """

    model: str
    route: str
    announced_ms: int | None
    sizes: Mapping[CallKey, int]
    failed: Mapping[CallKey, int]
    doubted: frozenset[CallKey]
    lost: frozenset[CallKey]
    out: frozenset[CallKey]
    calls: int

    @property
    def by_outcome(self) -> Mapping[AttemptOutcome, Mapping[CallKey, int]]:
        """How many calls with each outcome are known individually, by their outputs."""
        return {
            AttemptOutcome.FAILED: self.failed,
            AttemptOutcome.IN_DOUBT: Counter([*self.doubted, *self.lost]),
            AttemptOutcome.SUCCEEDED: dict.fromkeys(self.sizes, 1),
            AttemptOutcome.OUT: dict.fromkeys(self.out, 1),
        }

    @property
    def counts(self) -> AttemptCounts:
        """Count the calls that the task has made: all of them, and those with each outcome."""
        return AttemptCounts(self.calls, {outcome: sum(of.values()) for outcome, of in self.by_outcome.items()})

    def page(
        self, only: Collection[AttemptOutcome], after: EntryKey | None, most: int, chars_most: int
    ) -> tuple[Sequence[CallKey], bool]:
        """Return the outputs whose calls form the page of up to `most` calls after `after`, and whether it is the last.

        It ends before its outputs have more than `chars_most` code points together, but has at least one output.
        """
        known, wanted = Counter[CallKey](), Counter[CallKey]()
        for outcome, of in self.by_outcome.items():
            known.update(of)
            if outcome in only:
                wanted.update(of)
        left = [key for key in sorted(wanted) if after is None or key >= after[:2]]
        if after is not None and left and after.nth >= known[left[0]] and left[0] == after[:2]:
            del left[0]
        page: list[CallKey] = []
        calls = chars = 0
        for key in left:
            shown = after.nth if after is not None and key == after[:2] else 0
            size = self.sizes.get(key, 0) if AttemptOutcome.SUCCEEDED in only else 0
            if page and (calls >= most or chars + size > chars_most):
                return page, False
            calls, chars = calls + max(0, wanted[key] - shown), chars + size
            page.append(key)
        return page, True

    def attempts(
        self, wanted: Collection[CallKey], segments: Sequence[Row], failures: Sequence[Row]
    ) -> list[CallAttempt]:
        """Return the calls for the outputs in `wanted`, in order; without `segments`, none that succeeded."""
        made = [(key, one) for row in failures if (key := _key(row)) in wanted for one in _failures(row)]
        in_doubt = AttemptOutcome.IN_DOUBT
        for key in wanted:
            made += [(key, self._unanswered(in_doubt, False, None))] if key in self.doubted else []
            made += [(key, self._unanswered(in_doubt, False, self.announced_ms))] if key in self.lost else []
        made += [(one.key, self._succeeded(one)) for one in _outputs(segments, self.sizes.keys() & set(wanted))]
        out = self._unanswered(AttemptOutcome.OUT, None, self.announced_ms)
        made += [(key, out) for key in wanted if key in self.out]
        # Python's sort is stable, so the calls for one output keep the order in which they were added.
        by_key = groupby(sorted(made, key=itemgetter(0)), key=itemgetter(0))
        return [
            one._replace(key=EntryKey(key.level, key.position, nth))
            for key, of in by_key
            for nth, (_, one) in enumerate(of, start=1)
        ]

    def _unanswered(self, outcome: AttemptOutcome, answered: bool | None, announced_ms: int | None) -> CallAttempt:
        made = CallAttempt(_NOWHERE, outcome, answered=answered, announced_ms=announced_ms)
        return made._replace(model=self.model, route=self.route)

    def _succeeded(self, output: Output) -> CallAttempt:
        return CallAttempt(
            _NOWHERE,
            AttemptOutcome.SUCCEEDED,
            number=output.calls,
            answered=True,
            model=self.model,
            route=self.route,
            lane=output.lane,
            started_ms=output.started_ms,
            ended_ms=output.ended_ms,
        )


_NOWHERE: Final = EntryKey(0, 0, 0)


def index_of(task: Row, found: Sequence[Row], failures: Sequence[Row], default_model: str) -> AttemptIndex:
    """Build an `AttemptIndex` from the statements' rows. `default_model` is shown if the task names none."""
    sizes: dict[CallKey, int] = {}
    for row in found:
        places, lengths = (map(int, text(row, name).split(",")) for name in ("places", "sizes"))
        level = whole(row, "level")
        sizes.update((CallKey(level, place), size) for place, size in zip(places, lengths, strict=True))
    announced, live = keys(task, "in_flight"), bool(task["live"])
    # The worker of a task ended from outside may have recorded outputs of calls that the row still has in flight.
    unanswered = announced - sizes.keys()
    return AttemptIndex(
        model=maybe_text(task, "model") or default_model,
        route=text(task, "route"),
        announced_ms=maybe_whole(task, "announced_at"),
        sizes=sizes,
        failed={_key(row): many for row in failures if (many := _logged(row))},
        doubted=keys(task, "doubted"),
        lost=frozenset() if live else unanswered,
        out=unanswered if live else frozenset(),
        calls=whole(task, "calls_settled") + whole(task, "calls_in_doubt") + len(announced),
    )


def _key(row: Row) -> CallKey:
    return CallKey(whole(row, "level"), whole(row, "idx"))


def _logged(row: Row) -> int:
    """Return how many failed calls for an output are known: those in its log, and one that older code did not log."""
    return (maybe_whole(row, "logged") or 0) + _has_unlogged(whole(row, "calls"), maybe_whole(row, "latest"))


def _has_unlogged(calls: int, latest: int | None) -> bool:
    return calls > 0 and calls != latest


def _failures(row: Row) -> Iterator[CallAttempt]:
    logged = json.loads(maybe_text(row, "log") or "[]")
    for _, number, started, ended, answered, code, message, route, model, *_ in logged:
        yield CallAttempt(
            _NOWHERE,
            AttemptOutcome.FAILED,
            number=number,
            answered=bool(answered),
            model=model,
            route=route,
            started_ms=started,
            ended_ms=ended,
            code=code,
            message=message,
        )
    calls = whole(row, "calls")
    if _has_unlogged(calls, logged[-1][1] if logged else None):
        started, ended = (None, None) if row["held"] is None else whole_list(row, "held")
        yield CallAttempt(
            _NOWHERE,
            AttemptOutcome.FAILED,
            number=calls,
            started_ms=started,
            ended_ms=ended,
            code=task_code(row, "code"),
            message=text(row, "message"),
        )


def _outputs(segments: Sequence[Row], wanted: Collection[CallKey]) -> Iterator[Output]:
    of_level: dict[int, list[Row]] = {}
    for row in segments:
        of_level.setdefault(whole(row, "level"), []).append(row)
    for level, found in of_level.items():
        yield from outputs(level, found, {key.position for key in wanted if key.level == level})


# Reads in one row a task's calls without an answer, its bill, and what all of its calls share, such as the model.
CALLS = statement(f"""
SELECT in_flight, doubted, {LIVE} AS live, announced_at, calls_settled, calls_in_doubt, model, route
FROM tasks WHERE id = :task_key
""")

# A condition: the output comes from a call of this task itself. A task that retries gaps also has copied outputs. They
# have fence 0, which no claim has, and the task made no calls for them.
_OWN = "fence > 0"

# Reads which outputs a task's calls gave and how long these outputs are, without their texts.
OUTPUTS = statement(f"SELECT level, places, sizes FROM segments WHERE task_id = :task_key AND {_OWN}")

# Reads how many failed calls are logged for each output, and the number of the latest failed call.
FAILURES = statement("""
SELECT level, idx, calls, json_array_length(log) AS logged, log ->> '$[#-1][1]' AS latest
FROM failures WHERE task_id = :task_key
""")

# SOME_OUTPUTS and SOME_FAILURES read the outputs and the failed calls from the output (`:level`, `:idx`) to
# (`:last_level`, `:last_idx`). A segment that is returned may also contain outputs that were not asked for.
SOME_OUTPUTS = statement(f"""
SELECT level, part, hex(body) AS body FROM segments
WHERE task_id = :task_key AND {_OWN} AND level BETWEEN :level AND :last_level AND EXISTS (
  SELECT 1 FROM json_each('[' || places || ']')
  WHERE (level, value) >= (:level, :idx) AND (level, value) <= (:last_level, :last_idx)
)
""")
SOME_FAILURES = statement("""
SELECT level, idx, calls, code, message, held, log FROM failures
WHERE task_id = :task_key AND (level, idx) >= (:level, :idx) AND (level, idx) <= (:last_level, :last_idx)
""")


class AttemptPage(NamedTuple):
    """A page of the log of a task's calls. `after` is the place of its last call, None if no call follows."""

    attempts: Sequence[CallAttempt]
    counts: AttemptCounts
    after: EntryKey | None


class AttemptStore(Store):
    """Reads of a task's log of calls, which change nothing."""

    async def attempts(
        self, task_key: TaskKey, only: Collection[AttemptOutcome], after: EntryKey | None, most: int, default_model: str
    ) -> AttemptPage | None:
        """Read up to `most` calls of a task with the outcomes `only`, after a place; None if the task does not exist.

        `default_model` is shown for a task that names none. A page ends early if its outputs would have more than
        ANSWER_CHARS_AT_ONCE characters. It takes one or two calls to D1.
        """
        task, outputs, failures = await self._database.run(
            CALLS.bind(task_key=task_key), OUTPUTS.bind(task_key=task_key), FAILURES.bind(task_key=task_key)
        )
        if not task:
            return None
        index = index_of(task[0], outputs, failures, default_model)
        keys, is_last = index.page(only, after, most, limits.ANSWER_CHARS_AT_ONCE)
        if not keys:
            return AttemptPage((), index.counts, None)
        found = [one for one in await self._made(task_key, index, keys, only) if after is None or one.key > after]
        if len(found) > most:
            return AttemptPage(found[:most], index.counts, found[most - 1].key)
        return AttemptPage(found, index.counts, None if is_last else EntryKey(*keys[-1]))

    async def _made(
        self, task_key: TaskKey, index: AttemptIndex, keys: Sequence[CallKey], only: Collection[AttemptOutcome]
    ) -> list[CallAttempt]:
        """Read those calls for the outputs `keys` that have one of the outcomes `only`, in order."""
        (level, idx), (last_level, last_idx) = keys[0], keys[-1]
        bounds: dict[str, Value] = {"level": level, "idx": idx, "last_level": last_level, "last_idx": last_idx}
        statements = [SOME_FAILURES.bind(task_key=task_key, **bounds)]
        if AttemptOutcome.SUCCEEDED in only:
            statements.append(SOME_OUTPUTS.bind(task_key=task_key, **bounds))
        failures, *segments = await self._database.run(*statements)
        bodies = segments[0] if segments else ()
        return [one for one in index.attempts(keys, bodies, failures) if one.outcome in only]

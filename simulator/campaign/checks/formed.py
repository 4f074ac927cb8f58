"""Tasks whose outputs have a form: what must be true at each write, and at each call.

Each accepted output is valid by its schema, and is the value that the model meant. Gaps and accepted chunks are
disjoint, and count as the task says. Nobody asks a chunk again more often than `AI_REASKS` allows, or once it has
failed for good: the number on record decides, and it is there before the call is made.

The module accounts for itself: it reads the tables, the model's books and the calls that leave isolates.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulator.campaign.checks.client_promises import tag_of
from simulator.campaign.checks.custody import run_of_call
from simulator.campaign.checks.messages import messages
from simulator.campaign.clients.forms import REASKS
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.engine.answers import QUOTES_MOST
from src.kernel.domain.limits import START_SECONDS_MOST
from src.kernel.store.segments import unpack
from src.kernel.text.chunks import Chunk, chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.campaign.checks.invariants import Invariants
    from simulator.campaign.checks.recorded import OutputKey
    from simulator.platform.binding_port import Reply
    from simulator.platform.d1 import PreparedStatement
    from simulator.platform.world import World
    from src.kernel.calls.protocol import ModelCall
    from src.kernel.domain.ids import TaskKey
    from src.kernel.domain.structure import Quote

OUTPUTS_JUDGED: Final = "outputs that their schema allows"
MERGES_JUDGED: Final = "merged outputs that their schema allows"
QUOTES_JUDGED: Final = "quotes at their places in their chunks"
MERGED_QUOTES_JUDGED: Final = "quotes of merges at their places in the text"
LENT_JUDGED: Final = "quotes of what stands only before their chunk, which must become null"
ASKS_JUDGED: Final = "calls that ask again, by the rejections on record"
GAPS_JUDGED: Final = "writes of tasks with gaps, by chunk and character"
LATE_STARTS_EXCUSED: Final = "calls that a lane began just before their loss failed a chunk for good, excused"
REJECTIONS_JUDGED: Final = "rejections that agree with the model's books"
FORM_CODES: Final = frozenset({"invalid_output", "output_truncated", "too_many_gaps"})
REJECTED: Final = ("unfit", "cut")  # how the model's books call answers that no schema allows

_oracle: Any = importlib.import_module("jsonschema_rs")  # it has no types
_FAILED = "SELECT task_id, level, idx, final, rung, gap_chars FROM failures WHERE final = 1 OR calls > 0"
_BODIES = "SELECT hex(body) FROM segments WHERE task_id = ? AND level = ? ORDER BY part"
_CUTS = "SELECT cuts, overlap, output_schema FROM texts WHERE task_id = ?"


def reasks_most(world: World) -> int:
    """Return how often a call is made again whose output does not fit its schema."""
    return int(world.variables.get(REASKS, "1"))


class _Text(NamedTuple):
    """A task's text: the chunk of each message, where chunks end without their overlap, and the schema."""

    whole: str
    spans: Sequence[Chunk]
    places: Mapping[str, int]
    ends: Sequence[int]
    schema: Any

    def chars(self, chunk: int) -> int:
        """Return how many characters a chunk has."""
        return self.ends[chunk] - (self.ends[chunk - 1] if chunk else 0)


class _Failed(NamedTuple):
    task_key: TaskKey
    level: int
    idx: int
    final: int
    rung: str | None
    gap_chars: int | None


class Formed:
    """The tasks of one world that have a schema or allow gaps."""

    def __init__(self, world: World, invariants: Invariants) -> None:
        self.asks: Counter[str] = Counter()  # Calls that ask again, by tag, when they leave an isolate.
        self.disguised: Counter[str] = Counter()  # Valid outputs in disguise, by tag.
        self.missed: Counter[str] = Counter()  # Quotes that are not in their chunk, by tag.
        self._world = world
        self._invariants = invariants
        self._judged = invariants.judged
        self._connection = world.database.connection
        self._texts: dict[TaskKey, _Text] = {}
        self.placed: dict[OutputKey, tuple[Quote, ...]] = {}  # The quotes of each output, with their places.
        self._rows: Mapping[TaskKey, Row] = {}
        self._outputs: Mapping[OutputKey, str] = {}
        self._validators: dict[str, Any] = {}
        self._final_at: dict[tuple[TaskKey, int], float] = {}  # When each chunk that failed for good did.
        self._execute, self._serve = world.database.execute, world.model.serve
        self._starting = world.model.starting
        world.database.execute = self._executed  # type: ignore[method-assign]
        world.model.serve = self._served  # type: ignore[method-assign]
        world.model.starting = self._started

    # --- writes -----------------------------------------------------------------------------------------

    def _executed(self, statements: Sequence[PreparedStatement]) -> list[dict[str, Any]]:
        before = self._connection.total_changes
        results = self._execute(statements)
        if self._connection.total_changes != before:
            self._look()
        return results

    def _look(self) -> None:
        """Compare rows, outputs and failures after a write."""
        rows, outputs = self._invariants.rows, self._invariants.outputs
        formed = {task_key: row for task_key, row in rows.items() if row.structured is not None}
        if outputs is not self._outputs:
            for key in outputs.keys() - self._outputs.keys():
                if key[0] in formed:
                    self._check_output(key, outputs[key])
            self._outputs = outputs
        for task_key, row in formed.items():
            was = self._rows.get(task_key)
            if was is not None and was is not row:
                for name in ("reasks", "rejected", "repaired", "quotes_not_found"):
                    self._require(row, getattr(row, name) >= getattr(was, name), f"{name} fell")
        self._rows = rows
        if formed:
            self._check_failed(formed)

    def _check_output(self, key: OutputKey, output: str) -> None:
        schema = self.text(key[0]).schema
        if schema is None:
            return
        value = json.loads(output)
        validator = self._validators.get(json.dumps(schema))
        if validator is None:
            validator = _oracle.Draft202012Validator(schema, validate_formats=True)
            self._validators[json.dumps(schema)] = validator
        if not validator.is_valid(value):
            raise InvariantBroken(f"{key}: accepted, and its schema does not allow {output!r}")
        if not self._world.model.has_meant(output):
            raise InvariantBroken(f"{key}: accepted, and the model has not meant {output!r}")
        if "quotes" in value:
            self._check_quotes(key, value["quotes"])
        self._judged[OUTPUTS_JUDGED] += 1
        self._judged[MERGES_JUDGED] += key[1] != "0"

    def _check_quotes(self, key: OutputKey, quotes: Sequence[str | None]) -> None:
        """Check that each quote has a place in the text, and within its chunk. A merge has the places below it."""
        task_key, level, idx = key
        found = self._connection.execute(_BODIES, (task_key, level)).fetchall()
        outputs = [one for (body,) in found for one in unpack(int(level), body) if one.key.position == int(idx)]
        text, placed = self.text(task_key), outputs[0].quotes
        chunk = Chunk(0, 0, len(text.whole)) if int(level) else text.spans[int(idx)]
        said = {f"/quotes/{at}": quote for at, quote in enumerate(quotes) if quote is not None}
        if {one.pointer: text.whole[one.start : one.end] for one in placed} != said:
            raise InvariantBroken(f"{key}: the quotes {said} are not at {placed}")
        if any(one.start < chunk.start or one.end > chunk.end for one in placed):
            raise InvariantBroken(f"{key}: a quote of {placed} is outside its chunk")
        self.placed[key] = placed
        self._judged[QUOTES_JUDGED] += len(said)
        self._judged[MERGED_QUOTES_JUDGED] += len(said) if int(level) else 0

    def _check_failed(self, formed: Mapping[TaskKey, Row]) -> None:
        """Check rejections and gaps, and what the rows say about gaps."""
        gaps: dict[TaskKey, list[_Failed]] = defaultdict(list)
        ending: Counter[TaskKey] = Counter()  # Chunks whose failure ends their task.
        every = [_Failed._make(one) for one in self._connection.execute(_FAILED)]
        final = [(one.task_key, one.idx) for one in every if one.final and one.level == 0]
        self._final_at = {key: self._final_at.get(key, self._world.loop.time()) for key in final}
        for failed in every:
            row = formed.get(failed.task_key)
            if row is None:
                continue
            rejected = 0 if failed.rung is None else json.loads(failed.rung)["rejected"]
            what = f"call ({failed.level}, {failed.idx})"
            most = reasks_most(self._world) + 1
            self._require(row, rejected <= most, f"{what} has {rejected} rejected answers, {most} are allowed")
            ending[failed.task_key] += bool(failed.final) and failed.level == 0 and failed.gap_chars is None
            if failed.final and failed.gap_chars is not None:
                gaps[failed.task_key].append(failed)
                key = failed.task_key, str(failed.level), str(failed.idx)
                self._require(row, failed.level == 0, f"{what} is a merge, and leaves a gap")
                self._require(row, row.leaves_gaps, f"{what} leaves a gap, and no gaps are allowed")
                self._require(row, key not in self._outputs, f"{what} is a gap and has an output")
                chars = self.text(failed.task_key).chars(failed.idx)
                self._require(row, failed.gap_chars == chars, f"{what} leaves {failed.gap_chars} of {chars} characters")
        for task_key, row in formed.items():
            self._check_gaps(row, gaps[task_key], ending[task_key])

    def _check_gaps(self, row: Row, gaps: Sequence[_Failed], ending: int) -> None:
        """Check the count and the share of a task's gaps.

        After its deadline a task's failures are still recorded, but its totals only together with its end.
        """
        text = self.text(row.task_key)
        covered = None if not gaps else (text.ends[-1] - sum(text.chars(gap.idx) for gap in gaps)) / text.ends[-1]
        self._require(row, row.coverage == covered, f"its coverage is {row.coverage}, should be {covered}")
        now_ms = self._world.database.now_ms()
        is_overdue = row.deadline_at is not None and row.deadline_at <= now_ms
        if row.leaves_gaps and row.status in {"pending", "processing", "completed"} and not is_overdue:
            self._require(row, row.failed == len(gaps) + ending, f"{len(gaps)} gaps, and it says {row.failed}")
            self._judged[GAPS_JUDGED] += bool(gaps)

    def text(self, task_key: TaskKey) -> _Text:
        """Return the text of a task, as it was submitted."""
        if task_key not in self._texts:
            cuts, overlap, schema = self._connection.execute(_CUTS, (task_key,)).fetchone()
            whole, ends = self._invariants.inputs[task_key], json.loads(cuts)
            spans = chunks(tuple(ends), overlap)
            places = {said: place for place, said in enumerate(messages(whole, spans))}
            self._texts[task_key] = _Text(whole, spans, places, ends, None if schema is None else json.loads(schema))
        return self._texts[task_key]

    # --- calls ------------------------------------------------------------------------------------------

    def _served(self, call: ModelCall, sender: str, reply: Reply) -> None:
        model = self._world.model
        before = len(model.records)
        self._serve(call, sender, reply)
        if len(model.records) > before and model.records[-1].answer == "ok" and model.answered is not None:
            self.disguised[tag_of(call)] += model.answered.is_disguised
            self.missed[tag_of(call)] += model.answered.missed
            self._judged[LENT_JUDGED] += model.answered.lent

    def _started(self, call: ModelCall, sender: str) -> None:
        """Judge a call that leaves an isolate, if the claim that makes it is the task's present one."""
        self._starting(call, sender)
        tag = tag_of(call)
        self.asks[tag] += call.form is not None and call.form.rejected is not None
        row = self._invariants.latest(tag)
        if self._invariants.is_doubled(tag) or row.structured is None or row.task_key in self._invariants.gone:
            return
        run = run_of_call()
        # A lane does not say for which claim it calls. Before the first takeover there is only one.
        if run == (row.task_key, row.fence) or (run is None and row.fence == 1):
            what = self._fault_of(call, row, is_merge=call.system != tag, is_lane=run is None)
            if what is not None:
                loop = self._world.loop
                broken = InvariantBroken(f"{row.task_key} (fence {row.fence}): a call on {sender} {what}")
                loop.call_soon(_raise, broken, context=loop.outside)

    def _fault_of(self, call: ModelCall, row: Row, *, is_merge: bool, is_lane: bool) -> str | None:
        """Say what is wrong with a call. None: it may be made.

        A coordinator may die after it gave a call to a lane. The run records that call as lost, and the lane may begin
        it up to START_SECONDS_MOST later. The bill has the call as in doubt.
        """
        text, most = self.text(row.task_key), reasks_most(self._world)
        schema = None if call.form is None else call.form.schema
        if schema != _sent(text.schema):
            return "names another schema"
        place = text.places.get(call.user)
        if (place is None) != is_merge:
            return f"is for another text: {call.user!r}"
        failed = [
            one
            for one in map(_Failed._make, self._connection.execute(_FAILED))
            if one.task_key == row.task_key and (one.level > 0 if is_merge else (one.level, one.idx) == (0, place))
        ]
        if not is_merge and any(one.final for one in failed):
            late = is_lane and self._world.loop.time() - self._final_at[row.task_key, place or 0] <= START_SECONDS_MOST
            self._judged[LATE_STARTS_EXCUSED] += late
            return None if late else f"is for chunk {place}, which has failed for good"
        rejected = None if call.form is None else call.form.rejected
        rejections = [json.loads(one.rung) for one in failed if one.rung is not None]
        if rejected is None:
            return None if is_merge or not rejections else f"asks for chunk {place} as if no answer had been rejected"
        self._judged[ASKS_JUDGED] += 1
        if not any(
            rejection["output"] == rejected.answer and rejection["rejected"] <= most for rejection in rejections
        ):
            return f"asks again, and that is not on record: {rejections}"
        return None

    # --- at the end -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Compare each tag's counters with the model's books, reckoned with calls in doubt."""
        invariants = self._invariants
        for tag in invariants.born:
            tasks = invariants.tasks(tag)
            if not any(row.structured is not None for row in tasks):
                continue
            doubt = sum(row.in_doubt + row.announced for row in tasks)
            books: Counter[str] = Counter()
            most = (reasks_most(self._world) + 1) * sum(1 + invariants.retries[row.task_key] for row in tasks) + doubt
            for (text, answer), many in invariants.answers[tag].items():
                books[text] += many if answer in REJECTED else 0
            for text, many in books.items():
                if many > most:
                    raise InvariantBroken(f"{tag}: {many} rejected answers for {text!r}, {most} are allowed")
            self._check_counter(tag, "rejected", books.total(), doubt)
            self._check_counter(tag, "repaired", self.disguised[tag], doubt)
            self._check_counter(tag, "reasks", self.asks[tag], doubt)
            self._check_counter(tag, "quotes_not_found", self.missed[tag], QUOTES_MOST * doubt)
            self._judged[REJECTIONS_JUDGED] += books.total() > 0

    def _check_counter(self, tag: str, name: str, known: int, doubt: int) -> None:
        """Compare a counter of the bill with what the model knows. What an erased task had not written is in doubt.

        A call that asks again and ends before the model saw it counts in `reasks`, and is in doubt.
        """
        tasks = self._invariants.tasks(tag)
        told = sum(getattr(row, name) for row in tasks)
        least = 0 if any(row.task_key in self._invariants.gone for row in tasks) else known - doubt
        most = known + doubt if name == "reasks" else known
        if not least <= told <= most:
            raise InvariantBroken(f"{tag}: {name} is {told}, the model knows {known}, and {doubt} calls are in doubt")

    def _require(self, row: Row, holds: bool, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")


def _sent(schema: Any) -> Any:
    """Return a schema as it is sent: without the keyword for quotes."""
    if isinstance(schema, dict):
        return {name: _sent(one) for name, one in schema.items() if name != "x-onceover"}
    return schema


def _raise(error: InvariantBroken) -> None:
    raise error

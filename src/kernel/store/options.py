"""The columns of a task's options, in one list from which the SQL takes their names, and the formats of other columns.

The columns for options are written when a task is created. A claim, like a view, reads them. The other formats are
those of rejected answers, of gaps, of a structured task's counters, and of what a retry of gaps begins with.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from ..domain.structure import Gap, LongText, Rejection, Structure
from ..domain.task import Reduce, TaskOptions
from . import d1
from .d1 import Row, Value, as_json, json_object, maybe_json_object, maybe_text, maybe_whole


class AnswerCounts(NamedTuple):
    """The counters of a structured task since its start, and `coverage`: the share of its text that has outputs."""

    reasks: int = 0
    rejected: int = 0
    repaired: int = 0
    coverage: float | None = None
    quotes_not_found: int = 0


NOTHING_COUNTED = AnswerCounts()


class Inherited(NamedTuple):
    """What a task got from the task whose gaps it retries: how many outputs, and the plan of each merge level."""

    outputs: int
    merges: tuple[tuple[int, ...], ...]


def _written(found: Structure | LongText | None) -> str | None:
    """Write those options that differ from the defaults."""
    if found is None:
        return None
    return as_json({name: value for name, value in found._asdict().items() if found._field_defaults[name] != value})


def _read[O: (Structure, LongText)](row: Row, name: str, kind: type[O]) -> O | None:
    """Read options of a kind. Options that only later code knows are ignored."""
    found = maybe_json_object(row, name)
    if found is None:
        return None
    return kind(**{name: value for name, value in found.items() if name in kind._fields})  # type: ignore[arg-type]


def rejection_text(rejection: Rejection) -> str:
    """Write how often an output was rejected, and the last answer that was rejected."""
    reason = {} if rejection.finish_reason is None else {"reason": rejection.finish_reason}
    return as_json({"rejected": rejection.times, "output": rejection.answer, "errors": rejection.faults, **reason})


def rejection(row: Row) -> Rejection | None:
    """Read how often an output was rejected, and the last rejected answer, from the output's row in `failures`."""
    text = maybe_text(row, "rung")
    if text is None:
        return None
    found = json.loads(text)
    faults = tuple((pointer, expected) for pointer, expected in found["errors"])
    return Rejection(found["output"], faults, found.get("reason"), found["rejected"])


def join_rules(row: Row) -> dict[str, str] | None:
    """Read the rules by which outputs are joined. None: there are none."""
    rules = maybe_json_object(row, "join_rules")
    return None if rules is None else {pointer: str(rule) for pointer, rule in rules.items()}


def inherited_text(inherited: Inherited) -> str:
    """Write what a task that retries gaps inherits from the earlier task."""
    return as_json(inherited._asdict())


def inherited(row: Row) -> Inherited | None:
    """Read what a task that retries gaps inherits from the earlier one. None for any other task."""
    found = maybe_text(row, "inherited")
    if found is None:
        return None
    known = json.loads(found)
    return Inherited(known["outputs"], tuple(map(tuple, known["merges"])))


def gaps(row: Row) -> tuple[Gap, ...]:
    """Read a task's gaps from the column `gaps` of its row, a JSON list with an object for each gap."""
    text = maybe_text(row, "gaps") if "gaps" in row else None
    if text is None:
        return ()
    return tuple(sorted(_gap(row) for row in json.loads(text)))


def _gap(row: Row) -> Gap:
    chunk, start, end = (d1.whole(row, name) for name in ("idx", "start", "cut"))
    return Gap(chunk, start, end, d1.task_code(row, "code"), maybe_text(row, "reason"))


class _Column(NamedTuple):
    """A column of `tasks` with an option of the task, of the same name unless `option` gives another."""

    name: str
    written: Callable[[TaskOptions], Value]
    read: Callable[[Row, str], object]
    option: str = ""


_COLUMNS = (
    _Column("reduce", lambda options: options.reduce, lambda row, name: Reduce(d1.text(row, name))),
    _Column("model", lambda options: options.model, maybe_text),
    _Column("metadata", lambda options: as_json(dict(options.metadata)), json_object),
    _Column("deadline_ms", lambda options: options.deadline_ms, maybe_whole),
    _Column("max_calls", lambda options: options.max_calls, maybe_whole),
    _Column("max_cost", lambda options: options.max_cost, maybe_whole),
    _Column("chunk_chars", lambda options: options.chunk_chars, maybe_whole),
    _Column("max_output_tokens", lambda options: options.max_output_tokens, maybe_whole),
    _Column("temperature", lambda options: options.temperature, d1.maybe_number),
    _Column("model_options", lambda options: as_json(dict(options.model_options)), json_object),
    _Column(
        "response",
        lambda options: None if options.response is None else as_json(dict(options.response)),
        maybe_json_object,
    ),
    _Column("starts_at", lambda options: options.starts_at, maybe_whole),
    _Column("retention_ms", lambda options: options.retention_ms, maybe_whole),
    _Column(
        "structured",
        lambda options: _written(options.structure),
        lambda row, name: _read(row, name, Structure),
        "structure",
    ),
    _Column(
        "extras",
        lambda options: as_json(dict(options.extras)) if options.extras else None,
        lambda row, name: maybe_json_object(row, name) or {},
    ),
    _Column("long_text", lambda options: _written(options.long_text), lambda row, name: _read(row, name, LongText)),
)
NAMES = tuple(column.name for column in _COLUMNS)


def written(options: TaskOptions) -> dict[str, Value]:
    """Return the values of the columns for a task's options, by the columns' names."""
    return {column.name: column.written(options) for column in _COLUMNS}


def read(row: Row) -> TaskOptions:
    """Read a task's options from a row that has all the columns for options."""
    found: dict[str, Any] = {column.option or column.name: column.read(row, column.name) for column in _COLUMNS}
    return TaskOptions(**found)

"""The formats in which database rows store a task's structured-output options, rejected answers, and gaps."""

import json

from ...core.structure import Gap, Rejection, Structure
from ...core.task import TaskOptions
from ..d1.columns import maybe_json_object, maybe_text, task_code, whole
from ..d1.database import Row
from ..d1.statement import as_json
from .ladder import Inherited


def written(options: TaskOptions) -> str | None:
    """Write those of a task's structured-output options that differ from the defaults.

    The result is None for a plain task.
    """
    structure = options.structure
    return None if structure is None else as_json({k: v for k, v in structure._asdict().items() if _DEFAULTS[k] != v})


_DEFAULTS = Structure()._asdict()


def read(row: Row, name: str) -> Structure | None:
    """Read a task's structured-output options. Options that only later code knows are ignored."""
    found = maybe_json_object(row, name)
    if found is None:
        return None
    return Structure(**{name: value for name, value in found.items() if name in _DEFAULTS})  # type: ignore[arg-type]


def rung_text(rejection: Rejection) -> str:
    """Write how often an output was rejected, and the last answer that was rejected."""
    written = {"rejected": rejection.times, "output": rejection.answer, "errors": rejection.faults}
    return as_json(written if rejection.finish_reason is None else {**written, "reason": rejection.finish_reason})


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
    """Read what a task that retries gaps inherits from the earlier task.

    Returns None for a task that does not retry gaps.
    """
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
    found = (
        Gap(
            whole(one, "idx"), whole(one, "start"), whole(one, "cut"), task_code(one, "code"), maybe_text(one, "reason")
        )
        for one in json.loads(text)
    )
    return tuple(sorted(found))

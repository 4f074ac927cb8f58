"""The outputs of a completed task: each is the model's answer to the right text, and none is missing but the gaps."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.checks.messages import messages
from simulator.campaign.subject.row_changes import Row
from simulator.engine.answers import SEEN
from simulator.engine.chat import BETWEEN
from simulator.platform.model import output_of
from simulator.platform.world import World
from src.kernel.calls.protocol import ModelCall
from src.kernel.text.chunks import chunks
from src.kernel.text.merge import merge_ends, merge_message, merge_system

ALONG_JUDGED: Final = "outputs of chunks with context or headings, by what the model read"

type Require = Callable[[bool, str], None]

_TASK = """SELECT instructions, cuts, overlap, coalesce(model, 'simulated-1'), merge_chars, truncated, inherited,
  output_schema IS NOT NULL
FROM texts JOIN tasks ON id = task_id WHERE id = ?"""
_PLANS = "SELECT ends FROM merges WHERE task_id = ? ORDER BY level"


class _Task(NamedTuple):
    instructions: str
    cuts: str
    overlap: int
    model: str
    merge_chars: int
    truncated: int
    inherited: str | None
    has_schema: int


def seen_in(output: str, *, has_schema: bool) -> str:
    """Return which call the model says to have answered with an output."""
    said: str = json.loads(output)[SEEN] if has_schema else output
    return said.partition(" #")[0]


def gaps_of(invariants: Invariants, row: Row) -> set[int]:
    """Return the chunks of a task that allows gaps which have no output."""
    there = {int(place) for task_key, level, place in invariants.outputs if (task_key, level) == (row.task_key, "0")}
    return set(range(row.total)) - there if row.leaves_gaps else set()


def check_result(invariants: Invariants, world: World, row: Row, require: Require) -> None:
    """Check that each output is the model's answer to the right text, and that levels and minimum fit the input."""
    execute = world.database.connection.execute
    task = _Task(*execute(_TASK, (row.task_key,)).fetchone())
    text = invariants.inputs[row.task_key]
    inherited: Any = json.loads(task.inherited) if task.inherited else {"outputs": 0, "merges": []}
    stored = [json.loads(ends) for (ends,) in execute(_PLANS, (row.task_key,))]
    left_out = gaps_of(invariants, row)
    is_cut = text.startswith("y") and not task.has_schema and 0 not in left_out
    require(bool(task.truncated) == is_cut, f"{task.truncated} outputs count as cut off")
    said = messages(text, chunks(tuple(json.loads(task.cuts)), task.overlap))
    users = [None if place in left_out else user for place, user in enumerate(said)]
    invariants.judged[ALONG_JUDGED] += sum(user is not None and BETWEEN in user for user in users)
    system, level, minimum = task.instructions, 0, len(users)
    while True:
        outputs = _level(invariants, row, task, (system, level), users, require)
        if row.reduce != "merge" or len(users) == 1:
            break
        known = inherited["merges"][level : level + 1]  # a retry of gaps has the plan of the old task
        ends = known[0] if known else merge_ends(_sizes(outputs), task.merge_chars)
        require(level < len(stored) and list(ends) == stored[level], f"level {level + 1} was merged by another plan")
        users, system, level = _messages(outputs, ends, task.merge_chars), merge_system(task.instructions), level + 1
        minimum += sum(user is not None for user in users)
    minimum -= inherited["outputs"]
    require(row.minimum == minimum, f"minimumCalls is {row.minimum}, should be {minimum}")
    extra = [key for key in invariants.outputs if key[0] == row.task_key and int(key[1]) > level]
    require(not extra, f"outputs above the top level: {extra}")


def _level(
    invariants: Invariants,
    row: Row,
    task: _Task,
    of: tuple[str, int],
    users: Sequence[str | None],
    require: Require,
) -> list[str | None]:
    """Check the outputs of one level, and return them. A call that is left out has no message and no output."""
    system, level = of
    outputs: list[str | None] = []
    for position, user in enumerate(users):
        output = invariants.outputs.get((row.task_key, str(level), str(position)))
        outputs.append(output)
        if user is None:
            require(output is None, f"output ({level}, {position}) merges nothing but gaps")
            continue
        if output is None:
            require(False, f"completed without output ({level}, {position})")
            continue
        wanted = output_of(ModelCall(system, user, task.model))
        is_of_it = seen_in(output, has_schema=bool(task.has_schema)) == wanted
        require(is_of_it, f"output ({level}, {position}) is of another text")
    return outputs


def _sizes(outputs: Sequence[str | None]) -> list[int]:
    """Return the sizes by which outputs are merged: a gap counts as the average."""
    there = [len(output) for output in outputs if output is not None]
    return [sum(there) // len(there) if output is None else len(output) for output in outputs]


def _messages(outputs: Sequence[str | None], ends: Sequence[int], merge_chars: int) -> list[str | None]:
    groups = [[one for one in outputs[start:end] if one is not None] for start, end in pairwise((0, *ends))]
    return [merge_message(group, merge_chars) if group else None for group in groups]

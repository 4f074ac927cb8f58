"""The state machine of a task: a table of its transitions, and functions that read the table.

In `store.sql`, a statement makes a transition only from the source statuses that the table lists. The CHECK constraint
of the schema lists the same statuses, and `docs/design/state-machine.md` draws the table. Tests compare the SQL, the
schema and the drawing with the table.
"""

from enum import StrEnum
from typing import NamedTuple

from .errors import TransitionRefused


class Status(StrEnum):
    """The state of a task."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a task with this status has ended: the status no longer changes, unless a client asks for a retry."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Transition(NamedTuple):
    """A change of a task's status that the state machine allows.

    `sources` are the statuses from which the transition `name` may start. `why` says what causes the transition.
    """

    name: str
    sources: tuple[Status, ...]
    target: Status
    why: str


_TABLE = (
    Transition("claim", (Status.PENDING,), Status.PROCESSING, "a worker takes the task; the fence rises"),
    Transition("take_over", (Status.PROCESSING,), Status.PROCESSING, "the lease ran out; the fence rises"),
    Transition("progress", (Status.PROCESSING,), Status.PROCESSING, "outputs and intents are recorded"),
    Transition("release", (Status.PROCESSING,), Status.PENDING, "the worker stops early and gives the task back"),
    Transition("finish", (Status.PROCESSING,), Status.COMPLETED, "the last output is recorded"),
    Transition("fail", (Status.PROCESSING,), Status.FAILED, "a chunk failed for good"),
    Transition("dead_letter", (Status.PENDING, Status.PROCESSING), Status.FAILED, "deliveries are used up"),
    Transition("expire", (Status.PENDING, Status.PROCESSING), Status.FAILED, "its deadline passed"),
    Transition("give_up", (Status.PROCESSING,), Status.FAILED, "workers died on it again and again"),
    Transition("cancel", (Status.PENDING, Status.PROCESSING), Status.CANCELLED, "the client asked for it"),
    Transition("retry", (Status.FAILED, Status.CANCELLED), Status.PENDING, "the client asked for it"),
)

TRANSITIONS = {transition.name: transition for transition in _TABLE}


def check(name: str, source: Status) -> Status:
    """Return the status that transition `name` reaches from `source`.

    Raises TransitionRefused if the transition may not start from that status.
    """
    transition = TRANSITIONS[name]
    if source not in transition.sources:
        raise TransitionRefused(source, transition.target)
    return transition.target


def diagram() -> str:
    """Draw the transitions as a Mermaid diagram.

    `docs/design/state-machine.md` contains exactly the text that `diagram` returns.
    """
    lines = ["stateDiagram-v2", "    [*] --> pending: submit"]
    for transition in _TABLE:
        lines += [f"    {source} --> {transition.target}: {transition.name}" for source in transition.sources]
    lines += [f"    {status} --> [*]: erase" for status in Status if status.terminal]
    return "\n".join(lines)

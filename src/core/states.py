"""The state machine of a task: one table, and what follows from it.

The SQL of `store.sql` guards each transition with the sources listed here, the CHECK constraint of the schema lists
these statuses, and `docs/design/state-machine.md` draws the table. Tests compare all three with the table.
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
        """Whether the task stays as it is, unless a client asks for a retry."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Transition(NamedTuple):
    """One named transition.

    `sources` are the statuses from which the transition may start. `why` says what causes it.
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

    Raises TransitionRefused if the transition may not start there.
    """
    transition = TRANSITIONS[name]
    if source not in transition.sources:
        raise TransitionRefused(source, transition.target)
    return transition.target


def diagram() -> str:
    """Draw the table as a Mermaid state diagram. `docs/design/state-machine.md` contains exactly this text."""
    lines = ["stateDiagram-v2", "    [*] --> pending: submit"]
    for transition in _TABLE:
        lines += [f"    {source} --> {transition.target}: {transition.name}" for source in transition.sources]
    lines += [f"    {status} --> [*]: erase" for status in Status if status.terminal]
    return "\n".join(lines)

"""What the inputs of a run write and read in the transaction that records a step, in addition to the step."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..d1.database import Row
from ..d1.statement import BoundStatement, Value


class Also(NamedTuple):
    """What the inputs of a run write and read in the transaction that records a step, in addition to the step.

    `writes` makes SQL statements from the parameters that name the claim and the step. These statements run before the
    step's own statements, and must change nothing if the claim is lost. `hears` gets the rows that the statement `asks`
    returned, if the step took effect.
    """

    writes: Callable[[Mapping[str, Value]], Sequence[BoundStatement]] = lambda under: ()
    asks: BoundStatement | None = None
    hears: Callable[[Sequence[Row]], None] = lambda rows: None


NOTHING_ELSE = Also()

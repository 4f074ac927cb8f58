"""What a batch's worker writes and reads in the transaction of a step, besides the step."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..d1.database import Row
from ..d1.statement import BoundStatement, Value


class Also(NamedTuple):
    """What a batch's worker writes and reads in the transaction of a step, besides the step.

    `writes` makes statements from the parameters that name the claim and the step. They go before the step, and must
    change nothing once the claim is lost. `hears` gets the rows of `asks` if the step has landed.
    """

    writes: Callable[[Mapping[str, Value]], Sequence[BoundStatement]] = lambda under: ()
    asks: BoundStatement | None = None
    hears: Callable[[Sequence[Row]], None] = lambda rows: None


NOTHING_ELSE = Also()

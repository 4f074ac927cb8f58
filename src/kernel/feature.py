"""What a feature gives to the kernel, which knows no feature by name."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..http.base.endpoint import Endpoint


class PathGroup(NamedTuple):
    """Paths whose calls come from one module, and a function that imports them.

    In a path, a segment in braces stands for any value. The API's description lists groups by `rank`, lowest first.
    """

    rank: int
    paths: tuple[str, ...]
    load: "Callable[[], Sequence[Endpoint]]"


class Feature(NamedTuple):
    """Something that a deployment can lack. Its functions import late, so that an isolate's start stays small.

    `at_start` imports what the snapshot of the interpreter should have (docs/decisions/python.md#d0033).
    """

    name: str
    groups: tuple[PathGroup, ...] = ()
    at_start: Callable[[], object] | None = None

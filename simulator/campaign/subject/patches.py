"""Changes the running interpreter for the length of a run: sets attributes of modules and classes."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

type Patch = tuple[Any, str, Any]  # A module or class, the name of its attribute, and the attribute's value.


@contextmanager
def patched(patches: Iterable[Patch]) -> Iterator[None]:
    """Set the attribute of each patch, and restore all attributes at the end."""
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield

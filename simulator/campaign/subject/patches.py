"""Changes to the running interpreter during a run: other values for attributes of modules and classes."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

type Patch = tuple[Any, str, Any]  # a patch names the owner, its attribute, and the value


@contextmanager
def patched(patches: Iterable[Patch]) -> Iterator[None]:
    """Set each attribute, and restore all of them at the end."""
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield

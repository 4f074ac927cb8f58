"""Closes the coroutines that a run leaves behind, so that none of them runs on or causes a warning."""

import sys
from collections.abc import Callable
from typing import Any

_BURIALS_MOST = 100
_undead: list[Any] = []  # Coroutines that refuse to end are kept, because dropping one would resume it.


def bury(coroutine: Any) -> None:
    """Close a coroutine that will never be resumed, whatever its `finally` blocks do.

    The innermost coroutine that it awaits is closed first, because closing an outer coroutine drops an inner one that
    refuses to end. Closing is repeated, because each `await` in a `finally` block ignores one attempt.
    """
    for _ in range(_BURIALS_MOST):
        innermost = coroutine
        while getattr(inner := getattr(innermost, "cr_await", None), "cr_frame", None) is not None:
            innermost = inner
        try:
            innermost.close()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        if coroutine.cr_frame is None:
            return
    _undead.append(coroutine)


def keep_generators(kept: list[Any]) -> Callable[[], None]:
    """Keep async generators alive until the loop closes, so that no garbage collection runs their `finally` blocks."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=kept.append, finalizer=None)
    return lambda: sys.set_asyncgen_hooks(*before)

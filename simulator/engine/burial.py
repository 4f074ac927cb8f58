"""Ends the leftover coroutines of a run, so that none runs on and none warns."""

import sys
from collections.abc import Callable
from typing import Any

_BURIALS_MOST = 100
_undead: list[Any] = []  # coroutines that refuse to end: dropping a coroutine would only resume it


def bury(coroutine: Any) -> None:
    """Close a coroutine that will never be resumed, whatever its `finally` blocks try.

    Inner coroutines are closed first, since closing an outer one drops an inner one that refused. Closing is repeated,
    since each `await` in a `finally` ignores it once.
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

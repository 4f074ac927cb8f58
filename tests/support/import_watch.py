"""Watches the Worker's import for what a snapshot must not have: `python -I …/import_watch.py DIR`."""

import gc
import io
import json
import sys
from types import BuiltinFunctionType, FrameType, ModuleType
from typing import Any, NamedTuple

# The watched functions, each by its module and name. Methods that are written in C belong to an empty module name.
CLOCK = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *("time.gmtime", "time.localtime", ".datetime.now", ".datetime.utcnow", ".datetime.today", ".date.today"),
}
ENTROPY = {"posix.urandom", "posix.getrandom", ".Random.seed"}
THREADS = {"_thread.start_new_thread", "_thread.start_joinable_thread"}
WATCHED = CLOCK | ENTROPY | THREADS


class Seen(NamedTuple):
    """A call of a watched function, and the module whose top-level code led to the call."""

    what: str
    module: str


class Watch:
    """Records each call of a watched function between `begin` and `end`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._streams: set[int] = set()

    def begin(self) -> None:
        self._streams = {id(found) for found in open_streams()}
        sys.setprofile(self._profile)

    def end(self) -> dict[str, Any]:
        """Stop recording, and return the calls and the objects that exist, in a form for JSON."""
        sys.setprofile(None)
        gc.unfreeze()  # `entry` freezes the objects that the import made, and this hides them.
        return {
            "clock": self._of(CLOCK),
            "entropy": self._of(ENTROPY),
            "threads": self._of(THREADS),
            "streams": [repr(found) for found in open_streams() if id(found) not in self._streams],
            "bound": [type(found).__name__ for found in alive(*bound_to_a_loop())],
            "proxies": proxies(),
        }

    def _of(self, names: set[str]) -> list[Seen]:
        return sorted({seen for seen in self.seen if seen.what in names})

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "c_call":
            return
        assert isinstance(argument, BuiltinFunctionType)
        what = f"{argument.__module__ or ''}.{argument.__qualname__}"
        if what in WATCHED:
            self.seen.append(Seen(what, module_of(frame)))


def module_of(frame: FrameType | None) -> str:
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def alive(*kinds: type) -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, kinds)]


def open_streams() -> list[io.IOBase]:
    return [found for found in alive(io.IOBase) if isinstance(found, io.IOBase) and not found.closed]


def bound_to_a_loop() -> list[type]:
    names = {"asyncio": ("Lock", "Event", "Condition", "Semaphore", "Queue", "Future"), "socket": ("socket",)}
    return [
        getattr(sys.modules[module], name)
        for module, kinds in names.items()
        if module in sys.modules
        for name in kinds
        if hasattr(sys.modules[module], name)
    ]


def ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name == "entry" or name.split(".")[0] == "src"}


def made() -> dict[str, int]:
    classes = [
        value
        for name, module in ours().items()
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == name
    ]
    return {
        "dataclasses": sum("__dataclass_fields__" in vars(one) for one in classes),
        "named_tuples": sum(issubclass(one, tuple) and hasattr(one, "_fields") for one in classes),
        "models": sum("__pydantic_validator__" in vars(one) for one in classes),
    }


def proxies() -> list[str]:
    if "pyodide.ffi" not in sys.modules or not hasattr(sys.modules["pyodide.ffi"], "JsProxy"):
        return []
    kind = sys.modules["pyodide.ffi"].JsProxy
    return [
        f"{module.__name__}.{name}"
        for module in ours().values()
        for name, value in vars(module).items()
        if isinstance(value, kind)
    ]


def _stand_in() -> None:
    """Register a stand-in for the SDK that has only its two base classes, so that any other use at import fails."""
    sdk = ModuleType("workers")
    for name in ("WorkerEntrypoint", "DurableObject"):
        setattr(sdk, name, type(name, (), {}))
    sys.modules["workers"] = sdk


if __name__ == "__main__":
    _stand_in()
    sys.path.append(sys.argv[1])
    watch = Watch()
    watch.begin()
    __import__("entry")
    print(json.dumps(watch.end() | {"modules": sorted(ours()), "made": made()}))

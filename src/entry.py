"""The runtime loads this module, and finds the Worker and its Durable Objects here by the names of their classes.

At run time this module is named `entry`, and its directory comes after the standard library on the path, so that
`import queue` or `import http` would never find our packages. So the rest of the project is the package `src`, which
this module registers before it imports from it.

This module changes one thing about the interpreter: the timers of Pyodide's event loop (`platform/event_loop.py`).

Imported objects stay. So the garbage collector is off during the import and never scans them later: a scan takes as
long as the free plan lets a request take (docs/decisions/0033-what-is-imported-when.md). Later it runs a tenth as often
as usual, because reference counts free nearly everything (docs/decisions/0038-few-crossings.md).
"""

import gc
import sys
from pathlib import Path
from types import ModuleType

if "src" not in sys.modules:
    package = ModuleType("src")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["src"] = package

gc.disable()
from src.platform.durable_objects import AIProcessor, BatchCoordinator
from src.platform.event_loop import EVENT_LOOP
from src.platform.worker_entrypoint import Default

EVENT_LOOP.adapt()
gc.freeze()
gc.set_threshold(20_000)
gc.enable()

__all__ = ["AIProcessor", "BatchCoordinator", "Default"]

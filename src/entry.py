"""The Worker's main module: the runtime finds the Worker's and the Durable Objects' classes in it by their names.

At run time this module is named `entry`, and its directory comes after the standard library on the import path.
`import queue` or `import http` would therefore find the standard library's modules, not the project's. So this module
registers its directory as the package `src`, and imports the project's modules from that package.

This module changes one thing about the interpreter: the timers of Pyodide's event loop (`platform/event_loop.py`).

Imported objects are never freed. The garbage collector is therefore off during the import, and never scans these
objects later: one scan takes as long as the free plan lets a request take
(docs/decisions/0033-what-is-imported-when.md). After the import it runs a tenth as often as usual, because reference
counts free nearly all objects (docs/decisions/0038-few-crossings.md).
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

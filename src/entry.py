"""The Worker's main module: the runtime finds the Worker's and the Durable Objects' classes in it by their names.

At run time the module's name is `entry`, and its directory comes after the standard library on the import path, so
`import queue` or `import http` would find modules of the standard library. `entry` registers its directory as the
package `src`, and imports the project's modules from the package `src`.

`entry` changes one thing about the interpreter: Pyodide's event loop (`platform/event_loop.py`).

Imported objects are never freed. The garbage collector is off during the import, and never scans imported objects
later: one scan takes as long as the free plan lets a request take (docs/decisions/python.md#d0033). After
the import the garbage collector runs a tenth as often as usual, because reference counts free nearly all objects
(docs/decisions/python.md#d0038).
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
from src.features import FEATURES
from src.platform.durable_objects import AIProcessor, BatchCoordinator
from src.platform.event_loop import EVENT_LOOP
from src.platform.worker_entrypoint import Default

for feature in FEATURES:
    if feature.at_start is not None:
        feature.at_start()
EVENT_LOOP.adapt()
gc.freeze()
gc.set_threshold(20_000)
gc.enable()

__all__ = ["AIProcessor", "BatchCoordinator", "Default"]

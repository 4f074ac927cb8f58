"""What a start costs on the local runtime, in comparison with a Worker that has pydantic and the SDK and nothing else.

Each figure is a ratio, or of both in turns. There is no snapshot here: production imports at the deployment, and its
isolates begin with what is in memory after that.
"""

import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure
from tests.support.dev_server import DevServer

ROOT = Path(__file__).resolve().parents[1]
STARTS = 3
# Put in front of the Worker's own entry. `import pydantic` alone is lazy, so one small model stands for it.
TIMED = """import time as _time
import js as _js
import pyodide_js as _pyodide
_clock = _js.performance.now if hasattr(_js, "performance") else _js.Date.now
_t0 = _clock()
from pydantic import BaseModel as _BaseModel, Field as _Field
class _Model(_BaseModel):
    x: int = _Field(0)
_t1 = _clock()
"""
# The local runtime refuses globals with objects of JavaScript that it cannot name.
REPORT = """
_t2 = _clock()
print("timed imports", round(_t1 - _t0, 1), round(_t2 - _t1, 1), _pyodide._module.HEAP8.length)
del _js, _clock, _pyodide
"""
LEAST = """
from workers import DurableObject, Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("{}")

class AIProcessor(DurableObject):
    pass

class BatchCoordinator(DurableObject):
    pass
"""


class Start(NamedTuple):
    """One start: milliseconds for pydantic and for the rest, the interpreter's memory, seconds to the first answer."""

    pydantic_ms: float
    rest_ms: float
    heap_bytes: int
    answer_seconds: float

    @property
    def ratio(self) -> float:
        """How much longer the whole import takes than that of pydantic."""
        return (self.pydantic_ms + self.rest_ms) / self.pydantic_ms


def measure() -> list[Figure]:
    """Start both three times, in turns; the best of each counts, since anything else on the machine only adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        ours, least = (_project(Path(folder) / name, entry) for name, entry in (("ours", None), ("least", LEAST)))
        starts = [(_start(ours, number), _start(least, number)) for number in range(STARTS)]
    all_ours, all_least = zip(*starts, strict=True)
    answer = min(start.answer_seconds for start in all_ours)
    least_answer = min(start.answer_seconds for start in all_least)
    heap, least_heap = all_ours[0].heap_bytes, all_least[0].heap_bytes
    return [
        Figure("import of entry ÷ import of pydantic alone", min(start.ratio for start in all_ours), "×", 1.5),
        Figure("first answer after a cold start ÷ that of the least Worker", answer / least_answer, "×"),
        Figure("first answer after a cold start, workerd's start included", answer, "s"),
        Figure("memory at rest ÷ that of the least Worker", heap / least_heap, "×"),
        Figure("memory at rest, the interpreter's", heap / 2**20, "MB"),
    ]


def _project(folder: Path, entry: str | None) -> Path:
    """Make a copy of the Worker that reports its start, or a Worker of the same bindings with another entry."""
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wrangler.toml", folder / "wrangler.toml")
    module = folder / "src" / "entry.py"
    module.write_text(TIMED + (module.read_text() if entry is None else entry) + REPORT)
    return folder


def _start(project: Path, number: int) -> Start:
    began = time.monotonic()
    with DevServer(project / f"state-{number}", project=project, ready_seconds=240) as server:
        took = time.monotonic() - began
        found = re.search(r"timed imports ([\d.]+) ([\d.]+) (\d+)", server.wait_for_line("timed imports"))
        assert found is not None
        return Start(float(found[1]), float(found[2]), int(found[3]), took)

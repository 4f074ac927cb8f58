"""How much longer the Worker takes to import than pydantic alone, on the local runtime."""

import re
import shutil
import tempfile
from pathlib import Path

from bench.figures import Figure
from tests.support.dev_server import DevServer

ROOT = Path(__file__).resolve().parents[1]
# Put in front of the Worker's own entry. `import pydantic` alone is lazy, so one small model stands for it.
TIMED = """import time as _time
import js as _js
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
print("timed imports", round(_t1 - _t0, 1), round(_t2 - _t1, 1))
del _js, _clock
"""


def measure() -> list[Figure]:
    """Start the Worker three times; the best ratio counts, since anything else on the machine only adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("src", "migrations"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "wrangler.toml", project / "wrangler.toml")
        entry = project / "src" / "entry.py"
        entry.write_text(TIMED + entry.read_text() + REPORT)
        ratios = []
        for number in range(3):
            with DevServer(project / f"state-{number}", project=project) as server:
                found = re.search(r"timed imports ([\d.]+) ([\d.]+)", server.wait_for_line("timed imports"))
                assert found is not None
                pydantic, ours = float(found[1]), float(found[2])
                ratios.append((pydantic + ours) / pydantic)
    return [Figure("import of entry ÷ import of pydantic alone", min(ratios), "×", 1.5)]

"""Measures the processor time of an upload and of a start, for the Worker and for a minimal Worker.

The minimal Worker imports only pydantic and the SDK. An upload imports the Worker and takes a snapshot of the
interpreter's memory. A start loads the snapshot. The reported figure is the processor time of all threads of workerd,
as Linux counts it in /proc. The two Workers are measured in turns, and the lowest value of each Worker is reported.
"""

import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.figures import Figure
from tests.support.dev_server import DevServer
from tests.support.worker_copy import copy_worker

ROOT = Path(__file__).resolve().parents[1]
STARTS = 3
UPLOAD, START = b"--python-save-snapshot", b"--python-load-snapshot=snapshot.bin"
_TICKS = os.sysconf("SC_CLK_TCK")
LEAST = """
from pydantic import BaseModel, Field
from workers import DurableObject, Response, WorkerEntrypoint

class Model(BaseModel):  # `import pydantic` alone is lazy
    x: int = Field(0)

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("{}")

class AIProcessor(DurableObject):
    pass

class BatchCoordinator(DurableObject):
    pass
"""


class Start(NamedTuple):
    """One upload and one start: workerd's processor time, the seconds until it is ready, and its memory at rest."""

    upload_cpu_seconds: float
    start_cpu_seconds: float
    ready_seconds: float
    memory_bytes: int


class Watch:
    """Reads the workerd processes of a server every few milliseconds.

    The last reading of each process is its final value.
    """

    def __init__(self, server: DevServer) -> None:
        self._server = server
        self._ended = threading.Event()
        self.cpu_seconds = {UPLOAD: 0.0, START: 0.0}
        self.memory_bytes = 0

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._ended.wait(0.02):
            with suppress(AssertionError):  # the server may not be started yet
                self.look()

    def look(self) -> None:
        """Record the processor time that each workerd process of the server has used so far."""
        for process in self._server.group_members():
            with suppress(OSError):
                command = Path(f"/proc/{process}/cmdline").read_bytes()
                kind = next((flag for flag in self.cpu_seconds if flag in command), None)
                if kind is not None:
                    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                    self.cpu_seconds[kind] = (int(fields[11]) + int(fields[12])) / _TICKS
                    self.memory_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def measure(count: int = STARTS) -> list[Figure]:
    """Upload and start both Workers in turns, `count` times each, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        ours, least = (project_of(Path(folder) / name, entry) for name, entry in (("ours", None), ("least", LEAST)))
        starts = [(_start(ours, number), _start(least, number)) for number in range(count)]
    ours_best, least_best = (Start(*map(min, zip(*each, strict=True))) for each in zip(*starts, strict=True))
    upload, start = ours_best.upload_cpu_seconds, ours_best.start_cpu_seconds
    return [
        Figure(
            "import and snapshot ÷ those of pydantic and the SDK alone",
            upload / least_best.upload_cpu_seconds,
            "×",
            1.2,
        ),
        Figure("import and snapshot, processor time of workerd", upload, "s"),
        Figure("start from the snapshot ÷ that of the least Worker", start / least_best.start_cpu_seconds, "×"),
        Figure("start from the snapshot to the first answer, processor time of workerd", start, "s"),
        Figure("`make dev` of a known source, until it is ready", ours_best.ready_seconds, "s"),
        Figure(
            "memory of workerd at rest ÷ that of the least Worker",
            ours_best.memory_bytes / least_best.memory_bytes,
            "×",
        ),
    ]


def project_of(folder: Path, entry: str | None) -> Path:
    """Make a copy of the Worker in a folder, with another entry module if `entry` is given."""
    copy_worker(folder)
    if entry is not None:
        (folder / "src" / "entry.py").write_text(entry)
    return folder


def _start(project: Path, number: int) -> Start:
    """Upload a changed source, then start the Worker again from the source's snapshot."""
    entry = project / "src" / "entry.py"
    entry.write_text(f"{entry.read_text()}\n# {project.parent.name}, number {number}\n")
    first = DevServer(project / f"state-{number}", "--limits", "off", project=project)
    with Watch(first) as upload, first:
        pass
    began = time.monotonic()
    second = DevServer(project / f"state-{number}", "--limits", "off", project=project)
    with Watch(second) as start, second:
        ready = time.monotonic() - began
        httpx.get(f"{second.url}/api/async-status", timeout=60)
        start.look()
    return Start(upload.cpu_seconds[UPLOAD], start.cpu_seconds[START], ready, start.memory_bytes)

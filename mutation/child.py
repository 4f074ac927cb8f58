"""Code for the processes that check a mutant: limits the process, and reports what failed and what was executed."""

import hashlib
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

# The parent process sets these environment variables for its child processes.
REPORT = "MUTATION_REPORT"  # The path of the file for the child's report.
PROCESSOR_SECONDS = "MUTATION_PROCESSOR_SECONDS"
TRACE = "MUTATION_TRACE"  # If this variable is set, the child records which code the checks execute.
QUICK = "MUTATION_QUICK"  # If this variable is set, the tests draw fewer examples.
MEMORY_BYTES_MOST = 4 * 2**30
# The number of examples of the longest property test in the quick suite. With its normal number of examples, this
# property test takes half a minute.
RUNS_QUICK = 100
MESSAGE_CHARS_MOST = 300


@dataclass(slots=True)
class Report:
    """The report of a process: the name and the message of its first failure, and the code that it executed."""

    failed: str = ""
    message: str = ""
    functions: set[str] = field(default_factory=set)
    statements: set[str] = field(default_factory=set)

    def fail(self, name: str, message: str) -> None:
        """Record a failure if it is the first failure of the process."""
        if not self.failed:
            self.failed, self.message = name, " ".join(message.split())[:MESSAGE_CHARS_MOST]

    def write(self, path: Path) -> None:
        """Write the report."""
        facts = {
            "failed": self.failed,
            "message": self.message,
            "seconds": time.process_time(),
            "functions": sorted(self.functions),
            "statements": sorted(self.statements),
            "modules": sorted(_path(module) for module in list(sys.modules.values()) if _path(module)),
        }
        path.write_text(json.dumps(facts), "utf-8")


@contextmanager
def reporting() -> Iterator[Report]:
    """Limit this process within the block, and write its report at the end of the block."""
    report = Report()
    limit_process()
    if os.environ.get(TRACE):
        trace(report)
    try:
        yield report
    finally:
        if path := os.environ.get(REPORT):
            report.write(Path(path))


def limit_process() -> None:
    """Limit this process's processor time and memory."""
    if seconds := os.environ.get(PROCESSOR_SECONDS):
        _limit(resource.RLIMIT_CPU, int(float(seconds)) + 1)
        _limit(resource.RLIMIT_AS, MEMORY_BYTES_MOST)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def statement_digest(text: str) -> str:
    """Return a short digest of a statement's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _path(module: ModuleType) -> str:
    """Return the path of a module of the Worker, or '' for any other module."""
    name = getattr(module, "__name__", "")
    file = getattr(module, "__file__", None)
    return f"{name.replace('.', '/')}.py" if file and name.startswith("src.") else ""


def trace(report: Report) -> None:
    """Start to record which functions of the Worker are called, and which SQL statements get parameters."""
    here = f"{Path.cwd() / 'src'}{os.sep}"
    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.COVERAGE_ID, "mutation")

    def started(code: CodeType, _offset: int) -> Any:
        if code.co_filename.startswith(here):
            path = Path(code.co_filename).relative_to(Path.cwd()).as_posix()
            report.functions.add(f"{path}::{code.co_qualname.partition('.<locals>')[0]}")
        return monitoring.DISABLE  # one record of each function is enough

    monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.PY_START, started)
    monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.PY_START)
    statement = importlib.import_module("src.kernel.store.d1").Statement
    bind = statement.bind

    def noting(self: Any, **values: Any) -> Any:
        report.statements.add(statement_digest(self.text))
        return bind(self, **values)

    statement.bind = noting


def spare_ablations() -> None:
    """Let ablations of changed statements have no effect, instead of failing when they are made.

    An ablation swaps parts of a statement's text, and the import of the package of ablations makes all ablations. This
    function therefore replaces `swapped` while a placeholder stands for the package in `sys.modules`.
    """
    package = "simulator.campaign.ablations"
    campaign = importlib.import_module("simulator.campaign")
    spec = PathFinder.find_spec(package, list(campaign.__path__))
    assert spec is not None
    placeholder = ModuleType(package)
    placeholder.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[package] = placeholder
    substitutes = importlib.import_module(f"{package}.substitutes")
    del sys.modules[package]
    made = substitutes.swapped

    def swapped(name: str, old: str, new: str) -> Any:
        try:
            return made(name, old, new)
        except AssertionError:
            return substitutes, "swapped", swapped  # replace `swapped` by its present value, which changes nothing

    setattr(substitutes, "swapped", swapped)  # noqa: B010 - the module's type knows no such attribute

"""Puts the steps of a trace into words."""

from types import ModuleType
from typing import Any

from simulator.campaign.states.tables import Tables
from src.features.attempts import log as attempts
from src.features.batches.store import batch_files, batches
from src.features.files import sql as files
from src.features.webhooks import deliveries_store
from src.kernel.store import (
    admission,
    claiming,
    early_erasure,
    ending,
    events,
    seen,
    sweep,
    tallies,
    views,
    window,
    work_statements,
)
from src.kernel.store.d1 import Statement

_MODULES: tuple[ModuleType, ...] = (
    *(
        admission,
        attempts,
        batch_files,
        batches,
        claiming,
        deliveries_store,
        early_erasure,
        ending,
        events,
        files,
        seen,
    ),
    *(sweep, tallies, views, window, work_statements),
)
_STEPS = {
    "lands": "{call} lands",
    "lands, unanswered": "{call} lands, and the answer is lost",
    "late": "{call} gets no answer, and may land later",
    "again": "{call} lands, and may land once more later",
    "slow": "{call} lands; the answer is slow",
    "short": "{call} lands; 2.5 s pass before the answer comes",
    "long": "{call} lands; every lease runs out before the answer comes",
    "hears": "the answer comes",
    "wakes": "its wait is over",
    "crash": "dies",
    "crash, late": "dies, and its {call} may land later",
}


class Words:
    """Names the calls to the database of one search by their statements."""

    def __init__(self, tables: Tables, programs: list[str]) -> None:
        self._tables = tables
        self._programs = programs
        self._names: dict[str, str] = {}
        for module in _MODULES:
            for name, value in vars(module).items():
                for statement in value if isinstance(value, tuple) else (value,):
                    if isinstance(statement, Statement):
                        self._names.setdefault(statement.sql, name)

    def call(self, number: int) -> str:
        """Name a call by its statements that write, or by its first one."""
        statements = self._tables.calls[number]
        names = [self._names.get(sql, sql.split("\n")[0][:40]) for sql, _ in statements]
        writing = [
            name for name, (sql, _) in zip(names, statements, strict=True) if not sql.startswith(("SELECT", "WITH"))
        ]
        return " + ".join(dict.fromkeys(writing or names[:1]))

    def step(self, label: tuple[Any, ...], model_text: str = "") -> str:
        """Say what happens in a step."""
        kind, *rest = label
        if kind == "pass":
            return "2.5 s pass" if rest[0] == "short" else "every lease runs out"
        if kind == "lands late":
            return f"{self.call(rest[0])} lands late"
        if kind == "after":
            return "all programs are over; sweeps and workers come, and nothing fails"
        who = self._programs[rest[0]]
        if kind.startswith("model"):
            return f"{who}: the model {kind.partition(' ')[2] or 'answers'} {model_text!r}"
        return f"{who}: {_STEPS[kind].format(call=self.call(rest[1]) if len(rest) > 1 else '')}"

    def row(self, row: Any) -> str:
        """Describe a task's row."""
        if row is None:
            return "no task"
        said = f"{row.status}, fence {row.fence}, {row.completed} of {row.total} done, bill {row.sent}"
        return said + (f" ({row.in_doubt} in doubt)" if row.in_doubt else "")

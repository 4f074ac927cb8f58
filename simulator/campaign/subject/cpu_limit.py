"""A limit of CPU time that strikes in the midst of work without an await, at the same place in each invocation.

The Worker does its longest work without an await in slices of a file. The limit suffices for some slices of each
invocation, and the isolate dies within the next one, which every later invocation reaches in the same way. So a run
goes on only from what it has recorded.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from simulator.campaign.subject.patches import Patch
from simulator.engine.fault_kinds import CPU_LIMIT
from simulator.engine.fault_plan import FaultPlan
from simulator.engine.scope import SCOPE
from simulator.platform.binding_port import IsolateGone
from simulator.platform.isolate import SimulatedInvocation


def cpu_limit(plan: FaultPlan, slices: int) -> Sequence[Patch]:
    """Return the patches that limit each invocation's CPU time to so many slices of files, unless the rate is 0."""
    if not plan.tallies[CPU_LIMIT].rate:
        return ()
    from src.features.batches.lines.file_check import FileCheck
    from src.features.texts.file_cuts import FileCuts

    spent = Counter[SimulatedInvocation]()

    def limited(feed: Callable[..., Any]) -> Callable[..., Any]:
        def fed(self: Any, content: bytes) -> Any:
            scope = SCOPE.get()
            if isinstance(scope, SimulatedInvocation) and not scope.dead:
                spent[scope] += 1
                if spent[scope] > slices and plan.strike(CPU_LIMIT, scope.isolate.name):
                    scope.isolate.kill()
                    raise IsolateGone
            return feed(self, content)

        return fed

    return [(one, "feed", limited(one.feed)) for one in (FileCheck, FileCuts)]

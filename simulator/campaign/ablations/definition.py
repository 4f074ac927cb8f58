"""Defines an ablation: a run in which a safeguard of the Worker is switched off.

Nothing in `src/` is edited: an ablation swaps a statement, a function or a limit in the running interpreter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from simulator.campaign.clients.workload import Workload
from simulator.campaign.runs.run import Result, run_seed
from simulator.campaign.subject.patches import Patch, patched


@dataclass(frozen=True, slots=True)
class Ablation:
    """A safeguard that is switched off by `patches`.

    `rates` and `workload` are the circumstances in which a run without the safeguard fails.
    """

    name: str
    safeguard: str
    patches: tuple[Patch, ...]
    rates: dict[str, float] = field(default_factory=dict)
    workload: Callable[[Random], Workload] | None = None
    circumstances: tuple[Patch, ...] = ()  # patches for both the run without the safeguard and its control

    def run(self, seed: int, *, ablated: bool = True) -> Result:
        """Run one seed with the safeguard off or, if not `ablated`, with the safeguard on as a control."""
        chosen = None if self.workload is None else self.workload(Random(f"{seed}/{self.name}"))
        with patched(self.circumstances), patched(self.patches if ablated else ()):
            return run_seed(seed, fault_rates=self.rates, workload=chosen)

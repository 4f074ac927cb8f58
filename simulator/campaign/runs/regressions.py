"""Lists bugs that the simulation found in the Worker, each with the seed that showed the bug."""

from dataclasses import dataclass, replace
from random import Random

from simulator.campaign.clients.workload import LONG_CHUNKS, PATIENCE, TaskSpec, Workload
from simulator.campaign.runs.run import Result, run_seed
from simulator.platform.choices import FREE


@dataclass(frozen=True, slots=True)
class Regression:
    """A former bug: what went wrong, and the faults and workload under which `seed` showed it."""

    name: str
    what: str
    seed: int
    rates: tuple[tuple[str, float], ...]
    task: TaskSpec
    short_slices: bool = False
    patience_seconds: int = 0

    def run(self) -> Result:
        """Run the seed that showed the bug."""
        return self.at(self.seed)

    def at(self, seed: int) -> Result:
        """Run a seed with this regression's faults and workload."""
        moments = Random(f"{seed}/{self.name}")
        actions = tuple((moments.uniform(0, 2 * at), action) for at, action in self.task.actions)
        spec = replace(self.task, at=0, actions=actions)
        workload = Workload(
            tasks=(spec, spec),
            first=FREE,
            last=FREE,
            short_slices=self.short_slices,
            variables={PATIENCE: str(self.patience_seconds)},
        )
        return run_seed(seed, fault_rates=dict(self.rates), workload=workload)


REGRESSIONS = (
    Regression(
        "start_between_writes",
        "an object that died between storing its task and setting its alarm kept its storage for ever, and so did one"
        " that died between deleting its alarm and deleting the rest",
        5,
        (("crash_after", 0.2),),
        TaskSpec(0, 2),
    ),
    Regression(
        "lane_returned_after_close",
        "a coordinator that was closed while a lane was out stored the lane's return, and nothing deleted that again",
        0,
        (),
        TaskSpec(0, LONG_CHUNKS, actions=((1.0, "cancel"),)),
    ),
    Regression(
        "erased_during_merge",
        "a task that was erased while a later claim read its outputs for a merge ended its run in a KeyError",
        30,
        (("crash_after", 0.05), ("d1_slow", 0.2)),
        TaskSpec(0, 6, "merge", actions=((4.0, "delete"),)),
        True,
    ),
    Regression(
        "silent_lane",
        "calls that a lane may never have made were billed as made for certain when the lane did not answer in time",
        0,
        (("worker_frozen", 0.1),),
        TaskSpec(0, LONG_CHUNKS),
    ),
    Regression(
        "cancelled_lane",
        "calls that a lane may never have made were billed as made for certain when the client cancelled",
        3,
        (("crash_before", 0.1),),
        TaskSpec(0, LONG_CHUNKS, actions=((1.0, "cancel"),)),
    ),
    Regression(
        "gap_opened_again",
        "an earlier failure that was held opened a chunk again that had been refused for good, so the task never ended",
        32,
        (("model_unavailable", 0.3), ("call_refused", 0.1)),
        TaskSpec(0, 6, "merge", gap_share=1.0),
        patience_seconds=3_600,
    ),
    Regression(
        "failed_merge_beside_gaps",
        "a task whose merge failed beside gaps could not end after a retry: its gaps opened below merges that stayed",
        0,
        (("call_refused", 0.15),),
        TaskSpec(0, 6, "merge", gap_share=1.0, actions=((0.0, "mend"),)),
    ),
)

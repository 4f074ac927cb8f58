"""Runs single crashes and pairs of crashes at the suspension points of short flows, for all handlers and routes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from simulator.campaign.clients.workload import LONG_CHUNKS, TaskSpec, Workload
from simulator.campaign.runs.run import Result, run_plan
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.engine.crashes import Crashes, pairs_of_crashes, single_crashes
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.choices import DIRECT, FREE, TOP

POINTS_MOST_FOR_PAIRS = 40


@dataclass(frozen=True, slots=True)
class Flow:
    """A workload whose runs pass the same suspension points in the same order until a planned crash."""

    name: str
    workload: Workload
    rates: tuple[tuple[str, float], ...] = ()

    def run(self, crashes: Crashes) -> list[str]:
        """Run the flow with the given crashes.

        Return the labels of the suspension points that the run passed. Raises InvariantBroken.
        """
        plan = FaultPlan(Random("flow"), dict(self.rates), crash_at=crashes)
        plan.point_labels = []
        result = run_plan(Result(0, self.name), self.workload, plan, Random("flow"), latency_seconds=0, crashes=True)
        if result.failure is not None:
            where = {point: plan.point_labels[point - 1] for point in crashes if point <= len(plan.point_labels)}
            raise InvariantBroken(f"{self.name}, crashes {crashes} at {where}: {result.failure}")
        return plan.point_labels


def _one(**options: object) -> tuple[TaskSpec, ...]:
    return (TaskSpec(at=0, **options),)  # type: ignore[arg-type]


FLOWS = (
    Flow("queue", Workload(tasks=_one(chunks=2), first=TOP, last=TOP, short_slices=False)),
    Flow("queue, merge, continued", Workload(tasks=_one(chunks=6, reduce="merge"), first=TOP, last=TOP)),
    Flow(
        "queue, dead letter",
        Workload(tasks=_one(chunks=2), first=TOP, last=TOP, short_slices=False),
        (("retries_exhausted", 1.0),),
    ),
    Flow("queue, sweep", Workload(tasks=_one(chunks=2), first=TOP, last=TOP), (("message_lost", 1.0),)),
    Flow(
        "queue, cancel, retry, delete",
        Workload(
            tasks=_one(chunks=4, actions=((0.5, "cancel"), (2.0, "retry"), (9.0, "poll"), (12.0, "delete"))),
            first=TOP,
            last=TOP,
        ),
    ),
    Flow(
        "queue, schema, asked again",
        Workload(tasks=_one(chunks=2, form="flat"), first=TOP, last=TOP, short_slices=False),
        (("output_unfit", 1.0),),
    ),
    Flow("queue, lanes", Workload(tasks=_one(chunks=LONG_CHUNKS), first=TOP, last=TOP, short_slices=False)),
    Flow(
        "queue, lanes, cancel, retry",
        Workload(
            tasks=_one(chunks=LONG_CHUNKS, actions=((0.7, "cancel"), (1.5, "retry"))),
            first=TOP,
            last=TOP,
            short_slices=False,
        ),
    ),
    Flow("object", Workload(tasks=_one(chunks=2), first=FREE, last=FREE, short_slices=False)),
    Flow("object, merge, continued", Workload(tasks=_one(chunks=6, reduce="merge"), first=FREE, last=FREE)),
    Flow(
        "object, cancel, retry",
        Workload(tasks=_one(chunks=4, actions=((0.5, "cancel"), (2.0, "retry"))), first=FREE, last=FREE),
    ),
    Flow("object, lanes", Workload(tasks=_one(chunks=LONG_CHUNKS), first=FREE, last=FREE, short_slices=False)),
    Flow(
        "object, lanes, cancel, retry",
        Workload(
            tasks=_one(chunks=LONG_CHUNKS, actions=((0.7, "cancel"), (1.5, "retry"))),
            first=FREE,
            last=FREE,
            short_slices=False,
        ),
    ),
    Flow("object, sweep", Workload(tasks=_one(chunks=2), first=FREE, last=FREE), (("rpc_failed_before", 1.0),)),
    Flow("direct", Workload(tasks=_one(chunks=2), first=DIRECT, last=DIRECT, short_slices=False)),
    Flow("direct, swept", Workload(tasks=_one(chunks=6, reduce="merge"), first=DIRECT, last=DIRECT)),
    Flow(
        "expiry",
        Workload(tasks=_one(chunks=1), first=TOP, last=TOP, retention_days=0.0002, short_slices=False),
    ),
)


def all_singles(flow: Flow) -> Counter[str]:
    """Run a flow with a crash before and after each of its suspension points.

    Return the crashes that were run, by label and side.
    """
    crashes = single_crashes(flow.run)
    return Counter(f"{label} {when}" for label, crash in crashes for when in crash.values())


def pairs(flow: Flow) -> Iterator[Crashes]:
    """Yield all pairs of crashes at the first `POINTS_MOST_FOR_PAIRS` suspension points of a flow.

    The second crash of a pair is at a later point of the same run, after the first crash.
    """
    return pairs_of_crashes(flow.run, points_most=POINTS_MOST_FOR_PAIRS)

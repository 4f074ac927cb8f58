"""Ablations of the safeguards by which polls move a task that no trigger comes for, without a storm of sends."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients import clients
from simulator.campaign.clients.workload import Workload, polled
from simulator.campaign.subject.patches import Patch
from simulator.engine.fault_kinds import DEAD_TRIGGERS
from simulator.platform.choices import FREE, TOP
from src.kernel.store.fragments import NOW
from src.kernel.work import rescue

ALL_DEAD = dict.fromkeys(DEAD_TRIGGERS, 1.0)
ALARMS_DEAD = {"cron_dead": 1.0, "alarm_dead": 1.0}
# With this patch a polled task must end within 900 s: long enough with the safeguard, and a short wait without it.
IMPATIENT: tuple[Patch, ...] = ((clients, "POLLED_SECONDS_MOST", 900), (clients, "SHORT_POLLS_SECONDS", 450))


def polling(draw: Callable[[Random], Workload]) -> Callable[[Random], Workload]:
    """Return a function that draws the tasks that `draw` draws, with clients that poll them until they end."""
    return lambda rng: polled(replace(draw(rng), short_slices=False), rng)


ABLATIONS = (
    Ablation(
        "polls_help",
        "a poll does something for a task that nobody comes for",
        ((rescue.Rescue, "help", without.help_nobody),),
        ALL_DEAD,
        polling(some_tasks(TOP)),
        IMPATIENT,
    ),
    Ablation(
        "polls_work",
        "where sending has been in vain, a poll works on the task itself",
        ((rescue.Rescue, "_work", without.work_not),),
        ALARMS_DEAD,
        polling(some_tasks(FREE)),
        IMPATIENT,
    ),
    Ablation(
        "one_sending_a_minute",
        "a late task is sent off once a minute, however many ask for it",
        (without.swapped("NUDGE", f"coalesce(sent_at, 0) <= {NOW} - :late_ms", ":late_ms = :late_ms"),),
        ALARMS_DEAD | {"client_repeated": 0.5},
        polling(some_tasks(FREE)),
    ),
)

"""Ablations of what frees a host whose task has ended under it while slow calls are out."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import holding_up
from simulator.campaign.ablations.definition import Ablation
from simulator.platform.choices import DIRECT, FREE, TOP
from src.objects import ai_processor, lane
from src.processing import looks

ABLATIONS = (
    Ablation(
        "look_at_claim",
        "a run that waits for slow calls looks whether its task goes on",
        ((looks.Spacing, "next_at", without.never),),
        {},
        holding_up(TOP, DIRECT),
    ),
    Ablation(
        "told_object",
        "an object is told that its task has ended",
        ((ai_processor.Processor, "ended", without.hear_nothing),),
        {},
        holding_up(FREE),
    ),
    Ablation(
        "aborted_lanes",
        "lanes end the calls of a task that has ended",
        ((lane.Lane, "abort", without.abort_nothing),),
        {},
        holding_up(FREE, long=True),
    ),
)

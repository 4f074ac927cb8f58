"""Ablations of the safeguards that free a host when its task ends while slow model calls are in flight."""

from simulator.campaign.ablations.circumstances import BLIND, holding_up
from simulator.campaign.ablations.definition import Ablation
from simulator.platform.choices import DIRECT, FREE, TOP
from src.objects import ai_processor, lane


async def _hear_nothing(_self: object, _fence: int) -> None:
    """Let an object keep waiting for its model calls although it was notified that its task has ended."""


def _abort_nothing(_self: object, _fence: int) -> None:
    """Let a lane finish its model calls instead of aborting them."""


ABLATIONS = (
    Ablation(
        "look_at_claim",
        "a run that waits for slow calls looks whether its task goes on",
        BLIND,
        {},
        holding_up(TOP, DIRECT),
    ),
    Ablation(
        "told_object",
        "an object is told that its task has ended",
        ((ai_processor.Processor, "ended", _hear_nothing),),
        {},
        holding_up(FREE),
    ),
    Ablation(
        "aborted_lanes",
        "lanes end the calls of a task that has ended",
        ((lane.Lane, "abort", _abort_nothing),),
        {},
        holding_up(FREE, long=True),
    ),
    Ablation(
        "aborted_lanes_of_queue",
        "lanes end the calls of a task that has ended on the queue's route",
        ((lane.Lane, "abort", _abort_nothing),),
        {},
        holding_up(TOP, long=True),
    ),
)

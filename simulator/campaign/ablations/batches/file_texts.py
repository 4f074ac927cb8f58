"""Ablations of texts in files: slices are recorded once, calls come last, and no file goes that a task still reads."""

from random import Random

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.engine.fault_kinds import CPU_LIMIT
from src.features.files.sql import IN_USE
from src.features.texts.file_cuts import CutPortion
from src.features.texts.file_text import FileText
from src.kernel.domain import limits
from src.kernel.run.kinds import Record
from src.kernel.run.ledger import Ledger

_recorded = FileText._recorded


def _texts(rng: Random) -> Workload:
    """Draw three long texts in files, whose clients try to delete the files."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(
        TaskSpec(rng.uniform(0, 5), rng.choice((14, 20)), text_in_file="whole", drops_file=True) for _ in range(3)
    )
    return Workload(tasks=specs, first=first, last=first, bucket=True)


async def _record_as_the_last(
    self: FileText, record: Record, from_bytes: int, found: CutPortion, **_is_over: bool
) -> None:
    """Record a slice as if it were the last one."""
    await _recorded(self, record, from_bytes, found, is_over=True)


def _count_nothing(_self: Ledger) -> None:
    pass


ABLATIONS = (
    Ablation(
        "slice_cut_once",
        "the record of a slice adds its cuts once, also if it is sent again",
        (without.swapped("CUT_ON", "cut_bytes = :from_bytes", ":from_bytes = :from_bytes"),),
        {"d1_failed_after_commit": 0.2},
        _texts,
    ),
    Ablation(
        "recorded_slices_count",
        "a run that has recorded a part of its file is no stall, so a task whose runs all die goes on",
        ((Ledger, "read_on", _count_nothing),),
        {CPU_LIMIT: 1.0},
        _texts,
    ),
    Ablation(
        "calls_after_the_cut",
        "no call begins before the whole text is cut",
        ((FileText, "_recorded", _record_as_the_last),),
        {},
        _texts,
    ),
    Ablation(
        "part_waited_for",
        "a part that a bucket does not have for a minute is waited for",
        ((limits, "LOST_PART_SECONDS", 0),),
        {"r2_finds_nothing": 0.1},
        _texts,
    ),
    Ablation(
        "text_in_use",
        "the file of a task that goes on is not deleted",
        (
            without.swapped("GIVE_BACK", f"AND NOT {IN_USE}", ""),
            without.swapped("DELETE_FILE", f"AND NOT {IN_USE}", ""),
        ),
        {},
        _texts,
    ),
)

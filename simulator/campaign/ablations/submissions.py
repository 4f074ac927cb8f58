"""Ablations of the safeguards by which a request makes one task, even if it is sent several times."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import NO_LOOKS, some_tasks, twins
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS
from src.kernel.store import tasks
from src.kernel.store.fragments import NOW

ABLATIONS = (
    Ablation(
        "key_taken_once",
        "an idempotency key that is taken stays with its task",
        (without.swapped("TAKE_KEY", f"expires_at <= {NOW} AND", ""),),
        {},
        twins,
    ),
    Ablation(
        "key_before_task",
        "a task is only written for the request that has the key",
        (
            without.swapped(
                "INSERT_TASK", "EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key)", "1"
            ),
        ),
        {},
        twins,
    ),
    Ablation(
        "replay_noted",
        "a task that a second request was answered with is not taken back",
        (without.swapped("NOTE_REPLAY", "AND replayed = 0", "AND replayed = 2"),),
        {"d1_failed_after_commit": 0.6},
        twins,
        NO_LOOKS,
    ),
    Ablation(
        "withdrawal",
        "a task whose client is told that nothing was accepted is taken back",
        ((tasks.TaskStore, "withdraw", without.withdraw_nothing),),
        {"d1_failed_after_commit": 0.5},
        some_tasks(*DEPLOYMENTS),
        NO_LOOKS,
    ),
)

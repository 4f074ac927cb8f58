"""A task that kills its workers fails, and no other. `python -m simulator.innocence`: more kills."""

import pytest

from simulator.campaign.clients.workload import LONG_CHUNKS
from simulator.campaign.runs.innocence import CRON_SECONDS, KILLS, kills_in_a_row, poison
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.small_limits import SMALL_LANE_CALLS, SMALL_LANE_CHUNKS
from simulator.innocence import main
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.work import worker
from tests.support.tiers import sized

RUNS = sized(quick=30, test=30, campaign=60)


def test_no_innocent_task_fails_for_kills_in_a_row(capsys: pytest.CaptureFixture[str]):
    assert main(["--runs", str(RUNS)]) == 0
    told = capsys.readouterr().out
    assert f"{RUNS} runs of {KILLS} kills" in told
    assert "'completed':" in told


def test_without_rests_kills_in_a_row_are_noticed():
    with patched(((worker, "rests", lambda _max_attempts: Rests()),)):
        assert any(kills_in_a_row(seed).failure is not None for seed in range(RUNS))


@pytest.mark.parametrize(
    ("deployment", "chunks", "first_calls"),
    [
        *((one, 12, 6) for one in (TOP, FREE, DIRECT)),  # without lanes
        *((one, LONG_CHUNKS, 2 * SMALL_LANE_CALLS) for one in (TOP, FREE)),
        *((one, 4 * SMALL_LANE_CHUNKS, 4 * SMALL_LANE_CALLS) for one in (TOP, FREE)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_poison_task_fails_in_time(deployment: Deployment, chunks: int, first_calls: int):
    poisoned = poison(deployment, chunks=chunks)
    assert poisoned.result.failure is None
    assert dict(poisoned.result.reasons) == {"worker_crashed": 1}
    assert poisoned.result.calls == first_calls + 3 + 1
    assert limits.STALL_SECONDS_LEAST <= poisoned.seconds <= 15 * 60
    assert CRON_SECONDS == 60

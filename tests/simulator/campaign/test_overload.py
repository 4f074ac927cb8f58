"""Many workers use one database that stalls: all finish their tasks, and make few writes while they wait."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.campaign.load import overload
from simulator.campaign.load.overload import Load, play
from simulator.overload import main
from src.core import limits

WORKERS = 60
# Seconds of a call to D1: with all workers in line, the wait is longer than a call may usually take to start.
SLOW = 0.05


@pytest.mark.parametrize("route", overload.ROUTES)
def test_a_line_that_a_stall_leaves_behind_gets_shorter(route: str):
    """All tasks of 60 workers end, with a stall of 5 or 30 s and without; their writes wait 3 s for each other.

    After the stall, the time is within 1.5 times the time without a stall. There are at most two writes a call and two
    a minute.
    """
    calm = play(Load(WORKERS, SLOW, route=route))
    assert calm.faults(calm) == []
    for stall in (5.0, 30.0):
        assert play(Load(WORKERS, SLOW, stall, route)).faults(calm) == []


def test_250_workers_and_a_stall():
    """Workers at 10 ms a call wait 2.5 s for each other, and then for a stall of 5 s. None once ended its task.

    If calls had two seconds to start at any latency, tasks would write more than allowed even without the stall.
    """
    calm = play(Load(250, 0.01))
    assert [*calm.faults(calm), *play(Load(250, 0.01, 5.0)).faults(calm)] == []


def test_a_database_that_is_quick_enough_costs_nothing():
    """If the database answers quickly, workers write as if alone: at most once a call, besides a claim and its end."""
    outcome = play(Load(20, 0.01))
    assert outcome.completed == 20
    assert outcome.writes <= outcome.calls + 2 * 20
    assert outcome.spare <= 2


def test_what_is_asked_of_a_load():
    """The report names each fault: unfinished tasks, a lasting queue, and too many writes, of all tasks or of one."""
    load = Load(10, 0.01, 5.0)
    calm = overload.LoadResult(load=Load(10, 0.01), completed=10, seconds=10, batches=90, writes=90, calls=80, spare=1)
    good = overload.LoadResult(load=load, completed=10, seconds=21, batches=90, writes=90, calls=80, spare=1)
    assert good.faults(calm) == []
    slow = overload.LoadResult(load=load, completed=10, seconds=21.1, batches=170, writes=170, calls=80, spare=1)
    assert slow.faults(calm) == ["slow after the stall", "too many writes"]
    busy = replace(good, spare=limits.WRITES_AT_FIRST + 0.1)
    assert busy.faults(calm) == ["too many writes of a task"]
    assert replace(good, spare=limits.WRITES_AT_FIRST).faults(calm) == []
    stuck = overload.LoadResult(load=load, completed=9, seconds=float("inf"), batches=90, writes=90, calls=80, spare=1)
    assert stuck.faults(calm) == ["not ended"]


def test_the_command_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command prints a row for each load and writes the same as JSON.

    A load that misses a demand makes the command fail.
    """
    report = tmp_path / "overload.json"
    asked = ["--workers", "5", "--service-ms", "10", "--stalls", "5", "--report", str(report)]
    assert main(asked) == 0
    assert "2 of 2 loads are as they should be" in capsys.readouterr().out
    facts = json.loads(report.read_text("utf-8"))
    assert [(fact["workers"], fact["stallSeconds"], fact["completed"]) for fact in facts] == [(5, 0, 5), (5, 5, 5)]
    assert main([*asked, "--limit-seconds", "3"]) == 1
    assert json.loads(report.read_text("utf-8"))[1]["seconds"] is None

"""Tests that the benchmark that compares onceover with reference systems runs, and writes a complete report."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.dev_server import ROOT
from tests.support.programs import output_of, ran

pytestmark = pytest.mark.runtime
SYSTEMS = ("seed", "workflows", "queue")


def test_the_references_are_measured_beside_onceover(tmp_path: Path):
    report = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "references", "--quick", "--runs", "1", "--report", str(report)]
    command += ["--works", "submit", "instant", "24", "--systems", *SYSTEMS]
    assert "12 of 12, about 0 s left" in output_of(command, cwd=ROOT, seconds=400)
    found = json.loads(report.read_text())
    assert {"miniflare", "workerd", "node", "python", "cores", "load"} <= found["machine"].keys()
    references = found["references"]
    assert (references["runs"], references["quick"], references["chars"]) == (1, True, 40)
    assert [work["key"] for work in references["works"]] == ["submit", "instant", "24"]
    for work in references["works"]:
        due = work["tasks"] * work["chunks"]
        assert tuple(work["systems"]) == SYSTEMS
        for system in work["systems"].values():
            assert 0 < system["least"] <= system["median"] <= system["most"]
            assert system["seen"]["median"] > 0
            assert system["cpuMsAChunk"]["most"] > 0
            assert (system["modelCalls"], system["distinctCalls"]) == ([due], [due])
            assert system["characters"] == [due * 40]
            assert 1 <= system["mostInFlight"] <= due
        (goal,) = work["goals"]
        assert goal["system"] == "queue"
        assert goal["measured"]["median"] > 0
        assert goal["met"] == (goal["runsMet"] == 1)


@pytest.mark.campaign
def test_the_table_of_goals_is_measured_part_by_part(tmp_path: Path):
    report = tmp_path / "goals.json"
    command = [sys.executable, "-m", "bench", "goals", "--quick", "--runs", "1", "--report", str(report)]
    command += ["--only", "far", "capacity"]
    for run in range(2):
        done = ran(command, cwd=ROOT, seconds=500)
        assert done.returncode in {0, 1}, done.stdout + done.stderr  # 1 if a goal is not met, as on a busy machine
        assert "goals are met." in done.stdout
        assert done.stdout.count("kept from") == 2 * run
    parts = json.loads(report.read_text())["parts"]
    assert {name: len(part["rows"]) for name, part in parts.items()} == {"far": 6, "capacity": 3}
    assert not [row for part in parts.values() for row in part["rows"] if row["is_met"] is False and not row["goal"]]

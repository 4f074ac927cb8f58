"""The table of all goals: what is kept of a measurement that was stopped, and when a goal is met."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.figures import Figure
from bench.goals import parts, table
from bench.goals.kept import Kept
from bench.goals.parts import PARTS, Size, of_samples
from bench.goals.rows import Row, of_figure, of_work
from bench.invocations import LENGTHS, Kind, Sample, kinds
from bench.references.outcome import Outcome
from bench.references.systems import Sample as WorkSample
from bench.references.works import FURTHER, OBJECTS_FAR, QUEUE, QUEUE_FAR, WORKS, Goal, Work

SIZE = Size(runs=2, quick=False)
GOOD, BAD = Row("a", "≤ 1", "1", is_met=True, runs="2 of 2"), Row("b", "≤ 1", "2", is_met=False)
ALL_WORKS = {work.key: work for work in (*WORKS, *FURTHER)}


def kept(path: Path, size: Size = SIZE, source: str = "here", **options: bool) -> Kept:
    return Kept(path, size, {"machine": "test"}, source=source, **options)


def test_a_measurement_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """After Ctrl-C the finished parts are kept, and the same command measures only the others."""
    asked: list[str] = []
    stops = [KeyboardInterrupt()]

    def part(name: str, rows: list[Row]) -> Any:
        def measured(size: Size) -> list[Row]:
            asked.append(name)
            if name == "second" and stops:
                raise stops.pop()
            return rows

        return measured

    monkeypatch.setattr(table, "PARTS", {"first": part("first", [GOOD]), "second": part("second", [BAD])})
    path, console = tmp_path / "goals.json", Console(width=160)
    names = ["first", "second"]
    assert table.run(kept(path), SIZE, names, console) == table.STOPPED
    assert "1 of 1 goals are met." in capsys.readouterr().out
    assert table.run(kept(path), SIZE, names, console) == 1  # a goal is not met
    assert asked == ["first", "second", "second"]
    printed = capsys.readouterr().out
    assert "Part 1 of 2, first: kept from" in printed
    assert "1 of 2 goals are met." in printed
    assert table.run(kept(path), SIZE, ["first"], console) == 0
    assert table.run(kept(path, anew=True), SIZE, ["first"], console) == 0
    assert asked == ["first", "second", "second", "first"]


def test_parts_of_another_source_or_size_are_forgotten(tmp_path: Path):
    path = tmp_path / "folder" / "goals.json"
    kept(path).add("first", [GOOD, BAD], 1.25, 0.5)
    found = kept(path).parts["first"]
    assert (found.rows, found.seconds, found.load) == ([GOOD, BAD], 1.2, 0.5)
    assert json.loads(path.read_text())["machine"] == "test"
    assert not kept(path, source="there").parts
    assert not kept(path, Size(runs=3, quick=False)).parts
    assert not kept(path, Size(runs=2, quick=True)).parts
    path.write_text("{")
    assert not kept(path).parts


def test_a_figure_without_a_bound_has_no_verdict():
    assert of_figure(Figure("time", 2.0, "s")) == Row("time", "", "2 s", None)
    assert of_figure(Figure("time", 2.0, "s", 1.0)) == Row("time", "≤ 1", "2 s", is_met=False)
    assert [of_figure(Figure("time", 2.0, "s", most)).verdict for most in (None, 1, 2)] == ["", "NOT MET", "met"]


def sample(elapsed: float, calls: int = 24, **counts: float) -> WorkSample:
    found = {"calls": calls, "distinct": calls, "chars": 0, "mostInFlight": 6, **counts}
    return WorkSample([1.0], elapsed, elapsed, 0.048, found, load=1.0)


def test_a_work_has_a_row_for_each_goal_and_for_what_went_wrong():
    work = Work("w", "a work", "elapsed", 1, 24, 200, (QUEUE,), (Goal(QUEUE, 0.86),))
    assert of_work(work, None, 2) == [Row("a work", "", "no run in which all systems did the work", is_met=False)]
    good = Outcome(work, {QUEUE: [[sample(0.8)], [sample(0.9)]]})
    (row,) = of_work(work, good, 2)
    assert row == Row("a work: queue", "≤ 0.86 s", "0.85 (0.8 to 0.9)", is_met=True, runs="1 of 2")
    bad = Outcome(work, {QUEUE: [[sample(0.8, calls=25)]]})
    assert [(one.what, one.is_met) for one in of_work(work, bad, 2)] == [
        ("a work: queue", True),
        ("a work: complete runs", False),
        ("a work: one model call for each chunk", False),
    ]


def test_the_goals_of_a_far_database_follow_from_width_and_length():
    assert [ALL_WORKS[f"far-{key}"].ideal_seconds for key in ("24", "240", "free")] == pytest.approx([0.8, 1.6, 1.4])
    bounds = {goal.system: goal.bound for goal in ALL_WORKS["far-24"].goals}
    assert bounds == {QUEUE_FAR: pytest.approx(1.064), OBJECTS_FAR: pytest.approx(1.006)}


def test_requests_are_judged_by_the_median_of_runs():
    """CPU is judged by the mean or the 95th percentile of each run, and D1 calls by their exact number."""
    short, long = LENGTHS
    names = [kind.name for kind in kinds("task", "response")]
    samples = {name: Sample([1, 2], [9, 9, 12], 1.0, [1, 1, 2]) for name in names}
    samples[short] = Sample([4, 5, 6, 8], [], 1.0, [1, 1, 1])
    samples[long] = Sample([8, 8, 9, 12], [], 1.0, [])
    rows = {row.what: row for row in of_samples("queue", samples, 2)}
    assert rows[f"queue: CPU, {short}"] == Row(
        f"queue: CPU, {short}", "≤ 5 ms", "5.75 (4.5 to 7)", is_met=False, runs="1 of 2"
    )
    assert rows[f"queue: CPU, {long}, 95 %"].measured == "10 (8 to 12)"
    first = [row for what, row in rows.items() if "first request" in what]
    assert len(first) == len(parts.FIRST)
    assert {(row.measured, row.is_met, row.runs) for row in first} == {("9 (9 to 12)", True, "2 of 3")}
    assert [row.measured for what, row in rows.items() if "calls to D1" in what] == ["1", "1"]


def test_each_kind_with_a_goal_is_measured():
    measured = {kind.name for kind in kinds("task", "response") if isinstance(kind, Kind)}
    assert {*parts.CPU_GOALS, *parts.SLOW_GOALS, *parts.FIRST} <= measured


def test_every_work_with_a_goal_is_a_part_of_the_table(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, tuple[str, ...]]] = []

    def measure(options: Any, *, is_kept: bool) -> list[Outcome]:
        assert not is_kept
        asked.extend((work.key, work.systems) for work in options.chosen())
        return []

    monkeypatch.setattr(parts.measuring, "measure", measure)
    rows = [row for name in ("work", "free", "cpu", "far", "uneven") for row in PARTS[name](SIZE)]
    assert sorted(key for key, _ in asked) == sorted(ALL_WORKS)
    assert dict(asked)["240"] == ("queue", "objects")
    assert all(row.is_met is False for row in rows)

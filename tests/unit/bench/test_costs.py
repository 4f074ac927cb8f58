"""What the benches count: a day's costs, stored tasks and statements, and the pages that say so."""

from collections.abc import Callable

import pytest

from bench import costs, filled_schemas, measured, prose, quality, storage, sweeps, table_size
from bench.prose import LANGUAGES
from local.node import ROOT

TASKS = 40
ROUTES = ("queue", "durable-object")


def tasks_a_day(route: str, what: str) -> str:
    lines = [*costs.free_lines(route), *costs.storage_lines("free"), *costs.model_lines()]
    named = {line.what: costs.count(line) for line in lines}
    return named[what] if what in named else both(lambda language: named[what.format(language)])


def both(figure: Callable[[str], str], between: str = " / ") -> str:
    return between.join(figure(language) for language in LANGUAGES)


def row_of(page: str, start: str) -> list[str]:
    (row,) = [line for line in (ROOT / page).read_text("utf-8").splitlines() if line.startswith(f"| {start}")]
    return [cell.strip().replace("*", "") for cell in row.strip("|").split("|")][1:]


def test_the_page_is_current():
    assert costs.PAGE.read_text(encoding="utf-8") == costs.page()
    assert costs.main(["--check"]) == 0, "the Chinese page"


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_figures_are_those_of_now(language: str):
    size, rows = storage.task_cost(LANGUAGES[language], 6, TASKS)
    assert size == pytest.approx(measured.BYTES[language], rel=0.1)
    assert rows <= min(day["rowsWritten"] for day in measured.TASK.values())


def test_a_cron_run_writes_what_the_page_counts_with():
    assert {round(cron["rowsWritten"], 2) for cron in measured.CRON.values()} == {round(sweeps.cron_rows(), 2)}


def test_the_readme_has_the_figures_of_the_model():
    neurons = tasks_a_day("queue", "free neurons, {}").split(" / ")
    uneven = f"{min(costs.uneven_rows()):,.0f}"
    paid = {line.what: costs.count(line) for line in costs.paid_lines()}
    calls, stored = paid["model calls, 300 a minute (Workers AI)"], paid["storage, Chinese, kept for 30 days"]
    objects = tasks_a_day("durable-object", costs.WORDS["objectGbSeconds"])
    rows, (least, most) = measured.ROWS["task"], measured.ROWS_UNEVEN
    for page, sentences in (
        (
            "README.md",
            (
                f"for {neurons[0]} tasks of twenty chunks in English and {neurons[1]} in Chinese",
                f"(`ENV=free`) allows {uneven} to {objects} tasks a day.",
                f"allows {calls} in English, where the rate of Workers AI is the first limit,",
                f"first limit, and {stored} in Chinese, where storage",
                f"writes {rows} rows to D1 if its calls take equally long, and {least} to {most} if they take 2 to",
            ),
        ),
        (
            "README.zh-CN.md",
            (
                f"够 {neurons[0]} 个英文任务或 {neurons[1]} 个中文任务",
                f"（`ENV=free`）能处理 {uneven} 到 {objects} 个",
                f"{calls} 个英文任务",
                f"{stored} 个中文任务",
                f"写入 {rows} 行",
                f"写入 {least} 到 {most} 行",
            ),
        ),
    ):
        text = " ".join((ROOT / page).read_text("utf-8").split())
        assert [sentence for sentence in sentences if sentence not in text] == []


def test_the_page_on_performance_has_the_measured_times():
    for start, handler in (("submission of 20", "submission"), ("poll", "poll"), ("slice of 20", "slice")):
        cells = [f"{value:g}" for route in ROUTES for value in measured.CPU_MS[route][handler]]
        assert row_of("docs/performance.md", start) == cells


STORED = 15


@pytest.mark.slow
@pytest.mark.parametrize(("language", "most"), [("English", 20_000), ("Chinese", 40_000)])
def test_a_completed_task_is_small(language: str, most: int):
    """A task of 20 outputs of 1,000 characters takes at most 20 rows written, and 20 KB (40 KB in Chinese) of D1."""
    size, rows = storage.task_cost(prose.LANGUAGES[language], 6, STORED)
    assert size <= most
    assert rows <= 20


@pytest.mark.slow
def test_outputs_that_come_one_by_one_take_no_page_each():
    together, _ = storage.task_cost(prose.chinese, 6, STORED)
    alone, _ = storage.task_cost(prose.chinese, 1, STORED)
    assert alone <= 1.3 * together


FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def counted() -> tuple[dict[str, int], dict[str, int]]:
    return table_size.steps(FEW), table_size.steps(MANY)


@pytest.mark.parametrize("act", table_size.ACTS)
def test_an_act_costs_the_same_whatever_is_stored(act: str, counted: tuple[dict[str, int], dict[str, int]]):
    few, many = counted
    assert 0 < many[act] <= few[act]


def test_the_page_about_local_models_has_the_tables_of_the_benches():
    page = (ROOT / "docs" / "local-models.md").read_text("utf-8")
    for head in (filled_schemas.HEAD, quality.HEAD):
        assert f"| {' | '.join(head)} |" in page
    for text in filled_schemas.TEXTS:
        assert f"| {text} | `{filled_schemas.SENDING}` |" in page

"""Computes what a day of 20-chunk tasks uses of each plan, what it costs, and which allowance runs out first.

The program writes docs/costs.md.

    python -m bench.costs [--check]

The program computes the page from the use of one task (`bench/measured.py`) and Cloudflare's limits and prices. It
measures nothing.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import batch_costs, measured
from bench.costs_chinese import translated
from src.kernel.domain import limits

PAGE = Path(__file__).resolve().parents[1] / "docs" / "costs.md"
CHINESE_PAGE = PAGE.with_name("costs.zh-CN.md")
TASKS = 1_000_000  # The number of tasks a day for which the page computes costs.
DAYS = 30  # The number of days in a month.
DAY_SECONDS = 86_400
MB = 1_000_000

# The following limits and prices are from Cloudflare's pages for Workers, D1, Queues, Durable Objects and Workers AI,
# as of November 2026.
NEURONS_A_DAY = 10_000  # The number of neurons a day that are free on both plans.
# The neurons that @cf/qwen/qwen3-30b-a3b-fp8 takes for a million input tokens and for a million output tokens.
NEURONS_A_MILLION_TOKENS = (4_636, 30_909)
MODEL_CALLS_A_MINUTE = 300  # Workers AI's limit for text generation.
CONSUMERS_MOST = 250  # The largest number of consumers that one queue runs at a time.
# For each counter of the paid plan: the amount that a month includes, and the dollars for a million more.
PAID_MONTH = {
    "requests": (10_000_000, 0.30),
    "cpuMs": (30_000_000, 0.02),
    "rowsRead": (25_000_000_000, 0.001),
    "rowsWritten": (50_000_000, 1.00),
    "queueOperations": (1_000_000, 0.40),
    "objectRequests": (1_000_000, 0.15),
    "objectRowsWritten": (50_000_000, 1.00),
    "objectGbSeconds": (400_000, 12.50),
}
DOLLARS_A_GB_MONTH = (5.0, 0.75)  # gigabytes of D1 that a month includes, and the price of each further one
DOLLARS_A_THOUSAND_NEURONS = 0.011

WORDS = {
    "requests": "requests of the Worker",
    "rowsRead": "D1 rows read",
    "rowsWritten": "D1 rows written",
    "queueOperations": "queue operations",
    "objectRequests": "object requests",
    "objectRowsWritten": "object rows written",
    "objectGbSeconds": "GB-s of objects",
    "cpuMs": "CPU, ms",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One allowance: its name, how much of the allowance a task uses, and how many tasks a day it allows."""

    what: str
    taken: str
    tasks: float


def first(lines: Iterable[Line]) -> Line:
    """Return the line of the allowance that runs out first."""
    return min(lines, key=lambda line: line.tasks)


def stored(size_mb: int, task_bytes: int, days: float) -> float:
    """Return how many tasks a day a database of this size can store if each task is kept for this number of days."""
    return size_mb * MB / task_bytes / days


def neurons(tokens: tuple[int, int]) -> float:
    """Return the neurons that a task uses on Workers AI for its input tokens and its output tokens."""
    return sum(count * price / MB for count, price in zip(tokens, NEURONS_A_MILLION_TOKENS, strict=True))


def storage_lines(plan: str) -> list[Line]:
    """Return the lines of the database's size for both languages, with the default and the shortest retention."""
    size = limits.STORAGE_MB_MOST[plan]
    return [
        Line(f"storage, {language}, {words}", f"{task_bytes:,} bytes", stored(size, task_bytes, days))
        for words, days in (("kept for 30 days", 30), ("erased early, after a day", 1))
        for language, task_bytes in measured.BYTES.items()
    ]


def model_lines() -> list[Line]:
    """Return the lines of Workers AI's free neurons for both languages, with the default model of `workers-ai`."""
    return [
        Line(f"free neurons, {language}", f"{neurons(tokens):,.0f}", NEURONS_A_DAY / neurons(tokens))
        for language, tokens in measured.TOKENS.items()
    ]


def free_lines(route: str) -> list[Line]:
    """Return how many tasks a day each counted allowance of the free plan allows on one route."""
    task, cron = measured.TASK[route], measured.CRON[route]
    lines = []
    for name, a_day in limits.FREE_PLAN_DAY.items():
        left = a_day - 1_440 * cron[name]
        if task[name]:
            lines.append(Line(WORDS[name], f"{task[name]:.3g}", left / task[name]))
    return lines


def uneven_rows() -> list[float]:
    """Return how many tasks a day the free plan's allowance of written rows allows if model calls take 2 to 10 s."""
    left = limits.FREE_PLAN_DAY["rowsWritten"] - 1_440 * measured.CRON["queue"]["rowsWritten"]
    return [left / (rows + measured.ROWS["erasure"]) for rows in measured.ROWS_UNEVEN]


def paid_lines() -> list[Line]:
    """Return the limits of the queue route on the paid plan that no price raises, with model calls of five seconds."""
    chunks, run_seconds, sqlite_ms = measured.CHUNKS, measured.RUN_SECONDS, measured.SQLITE_MS
    retention = _erased(limits.ERASE_PAGES_MOST, limits.ERASE_TASKS_MOST["paid"])
    early = _erased(limits.CLEAR_PAGES_MOST, limits.CLEAR_TASKS_MOST)
    return [
        *storage_lines("paid"),
        Line("model calls, 300 a minute (Workers AI)", f"{chunks}", MODEL_CALLS_A_MINUTE * 1_440 / chunks),
        Line("consumers of the queue, 250 at a time", f"{run_seconds:g} s", CONSUMERS_MOST * DAY_SECONDS / run_seconds),
        Line("sweeps that erase after the retention", "", retention),
        Line("sweeps that erase early", "", early),
        Line("SQLite's own time, one statement at a time", f"{sqlite_ms:g} ms", DAY_SECONDS * 1_000 / sqlite_ms),
    ]


def _erased(pages: dict[str, int], tasks: int) -> float:
    return 1_440 * pages["paid"] * tasks


def dollars(tasks: int = TASKS) -> list[tuple[str, float, float]]:
    """Return the cost of a month with a given number of tasks a day on the paid plan and the queue route.

    Each item of the list is a name, an amount, and the dollars for the amount.
    """
    month = []
    for name, (included, price) in PAID_MONTH.items():
        amount = DAYS * (tasks * measured.TASK["queue"][name] + 1_440 * measured.CRON["queue"][name])
        month.append((WORDS[name], amount, max(0.0, amount - included) / MB * price))
    included_gb, price = DOLLARS_A_GB_MONTH
    month.append(("GB of D1, as full as it may be", 9.5, (9.5 - included_gb) * price))
    for language, tokens in measured.TOKENS.items():
        amount = DAYS * (tasks * neurons(tokens) - NEURONS_A_DAY)
        month.append((f"neurons, {language}", amount, amount / 1_000 * DOLLARS_A_THOUSAND_NEURONS))
    return month


def page() -> str:
    """Return the whole document."""
    free = {route: [*free_lines(route), *storage_lines("free"), *model_lines()] for route in measured.TASK}
    names = dict.fromkeys(line.what for lines in free.values() for line in lines)
    paid = paid_lines()
    month = dollars()
    page = _PAGE.format(
        commit=measured.COMMIT,
        free="\n".join(_free_row(name, free) for name in names),
        free_first="\n".join(_verdict(f"{route}: ", lines) for route, lines in free.items()),
        paid=_table(paid),
        paid_first="\n".join(f"- {language}: {_ends(of_language(language, paid))}" for language in measured.BYTES),
        paid_other=_ends(_others(paid)),
        rows=measured.ROWS,
        uneven=measured.ROWS_UNEVEN,
        uneven_tasks=[f"{tasks:,.0f}" for tasks in uneven_rows()],
        paid_kept=_ends(line for line in _others(paid) if "storage" not in line.what and "early" not in line.what),
        dollars="\n".join(f"| {what} | {_amount(amount)} | {cost:,.0f} |" for what, amount, cost in month),
        cents=_cents(month),
    )
    return page + batch_costs.section(PAID_MONTH, WORDS)


def _cents(month: Sequence[tuple[str, float, float]]) -> str:
    """Say what a task costs in cents: the platform, and Workers AI for a task in English and in Chinese."""
    models = [cost for what, _, cost in month if what.startswith("neurons")]
    platform = sum(cost for _, _, cost in month) - sum(models)
    ours, english, chinese = (f"{100 * cost / (DAYS * TASKS):.2g}" for cost in (platform, *models))
    adds = f"Workers AI adds {english} cents in English and {chinese} in Chinese"
    return f"So a task costs {ours} cents on the platform, and {adds}."


def _others(lines: Sequence[Line]) -> list[Line]:
    """Return the limits that remain with the model of another provider and with early erasure of ended tasks."""
    return [line for line in lines if not any(word in line.what for word in ("neurons", "Workers AI", "30 days"))]


def of_language(language: str, lines: Sequence[Line]) -> list[Line]:
    """Return the lines for tasks in one language, without the lines that name another language."""
    others = [other for other in measured.BYTES if other != language]
    return [line for line in lines if not any(other in line.what for other in others)]


def _verdict(route: str, lines: Sequence[Line]) -> str:
    kept, other = _ends(lines), _ends(_others(lines))
    return f"- {route}{kept}\n- {route}with another model, early erasure and calls of one length, {other}"


def _ends(lines: Iterable[Line]) -> str:
    ends = first(lines)
    return f"{ends.what}, at {count(ends)} tasks a day"


def _free_row(name: str, free: dict[str, list[Line]]) -> str:
    found = [next((line for line in lines if line.what == name), Line(name, "0", math.inf)) for lines in free.values()]
    return "| " + " | ".join([name, *(line.taken for line in found), *map(count, found)]) + " |"


def _table(lines: Sequence[Line]) -> str:
    return "\n".join(
        f"| {line.what} | {line.taken} | {count(line)} |" for line in sorted(lines, key=lambda line: line.tasks)
    )


def _amount(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:g}"


def count(line: Line) -> str:
    """Format the line's number of tasks a day for people, as an empty text if there is no limit."""
    if math.isinf(line.tasks):
        return ""
    return f"{line.tasks:,.0f}" if line.tasks >= 10 else f"{line.tasks:.1f}"


_PAGE = """# What a day carries, and what it costs

中文版：[costs.zh-CN.md](costs.zh-CN.md).

A task here has 20 chunks of 6,000 characters, and outputs of 1,000. The use of one task was measured on the local
runtime (`python -m bench.free_plan`, `python -m bench storage`, commit {commit}). This page combines it with
Cloudflare's limits and prices of November 2026. `python -m bench.costs` writes it; a test keeps it current.

The model is `workers-ai`'s default, `@cf/qwen/qwen3-30b-a3b-fp8`. Its tokens are estimated as `dryRun` does, with four
characters a token in English and one in Chinese, plus 750 tokens a call for its thinking. They were not measured on an
account. Other providers have their own limits.

## The free plan

| | a task, queue | a task, objects | tasks a day, queue | tasks a day, objects |
| --- | --- | --- | --- | --- |
{free}

The first limit:

{free_first}

Rows written come from the cheapest run, in which all calls take equally long: {rows[task]} for the task and
{rows[erasure]} for its erasure. With calls of 2 to 10 s a task writes {uneven[0]} to {uneven[1]}, and {rows[erasure]}
for its erasure. A day then allows {uneven_tasks[0]} to {uneven_tasks[1]} such tasks on both routes: with another
model and early erasure, rows written are then the first limit.

## The paid plan

These have a limit at any price, the lowest first:

| | a task | tasks a day |
| --- | --- | --- |
{paid}

The first limit:

{paid_first}
- with another model and early erasure, {paid_other}
- with `RETENTION_DAYS` 0, without which the database is too small for 1,000,000 tasks a day, {paid_kept}

- `RETENTION_DAYS` 0 removes the limit of storage: the first sweep after a task's end erases it.
- Storage counts up to `STORAGE_MB_MOST`, with completed tasks without their input.
- SQLite's own time depends on the processor that measured it. D1's additional time was not measured.
- Consumers: four waves of calls of five seconds.
- The rows written below come from the cheapest run too. With uneven calls that line costs up to twice as much.

## A month of 1,000,000 tasks a day on the paid plan

| on the queue | a month | dollars |
| --- | --- | --- |
{dollars}

{cents}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write docs/costs.md, or with `--check` only compare it with the computed page.

    Return the exit status, 1 if the page is not current.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    options = parser.parse_args(arguments)
    pages = {PAGE: page(), CHINESE_PAGE: translated(page())}
    if options.check:
        return int(any(not path.exists() or path.read_text("utf-8") != text for path, text in pages.items()))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        print(f"Wrote docs/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Computes what a batch of 20,000 lines uses and costs: the last section of docs/costs.md.

The prices and allowances of R2 are those of Cloudflare's page "R2, Pricing", as of November 2026. Deletions are free.
"""

import math
from collections.abc import Mapping

from bench import measured
from src.kernel.domain import limits

# For each class of operations, and for a GB that is stored for a month: the amount that a month includes on both plans,
# and the dollars for a million more, or for a GB more.
R2_MONTH = {"bucketWrites": (1_000_000, 4.50), "bucketReads": (10_000_000, 0.36)}
R2_GB_MONTH = (10.0, 0.015)
DAYS = 30
MB = 1_000_000
WORDS = {
    "bucketWrites": "R2, class A: puts and lists",
    "bucketReads": "R2, class B: gets",
    "stored": "MB in R2, kept for 30 days",
}
ROUTES = ("queue", "objects")


def batches_a_day(route: str, name: str) -> float:
    """Return how many batches a day an allowance of the free plan allows, without the use of cron runs and tasks."""
    taken = measured.BATCH[route, "free"][name]
    a_day = limits.FREE_PLAN_DAY[name] if name in limits.FREE_PLAN_DAY else R2_MONTH[name][0] / DAYS
    return a_day / taken if taken else math.inf


def stored_a_day() -> float:
    """Return how many batches a day fit into R2's free GB if their files are kept for 30 days."""
    return R2_GB_MONTH[0] * 1_000 / measured.BATCH_MB / DAYS


def dollars(prices: Mapping[str, tuple[float, float]]) -> list[tuple[str, float, float]]:
    """Return a name, an amount and the price of each thing that a batch uses on the paid plan and the queue route.

    The prices are those beyond the amounts that a month includes. `prices` has those of everything but R2.
    """
    known = {**prices, **R2_MONTH}
    used = measured.BATCH["queue", "paid"]
    found = [(name, amount, amount * known[name][1] / MB) for name, amount in used.items()]
    return [*found, ("stored", measured.BATCH_MB, measured.BATCH_MB / 1_000 * R2_GB_MONTH[1])]


def section(prices: Mapping[str, tuple[float, float]], words: Mapping[str, str]) -> str:
    """Return the section of the page. `words` are the names of the other things that are billed."""
    names = {**words, **WORDS}
    free = [_free_row(name, names[name]) for name in measured.BATCH["queue", "free"]]
    stored = f"{measured.BATCH_MB:g}"
    free.append(f"| {names['stored']} | {stored} | {stored} |" + f" {_count(stored_a_day())} |" * 2)
    bill = dollars(prices)
    least = {route: min(measured.BATCH[route, "free"], key=lambda name: batches_a_day(route, name)) for route in ROUTES}
    return _SECTION.format(
        lines=f"{measured.BATCH_LINES:,}",
        free="\n".join(free),
        first=[
            f"{names[least[route]]}, at {_count(batches_a_day(route, least[route]))} batches a day" for route in ROUTES
        ],
        paid="\n".join(f"| {names[name]} | {amount:,.10g} | {cost:.4f} |" for name, amount, cost in bill),
        total=f"{sum(cost for *_, cost in bill):.3f}",
        cpu_ms=measured.BATCH_CPU_MS,
        cpu_cost=f"{measured.BATCH_CPU_MS * measured.BATCH_LINES * prices['cpuMs'][1] / MB:.4f}",
        uneven=f"{measured.BATCH_ROWS_UNEVEN:,}",
        rows_read=f"{measured.BATCH['queue', 'paid']['rowsRead'] / measured.BATCH_LINES:.0f}",
        of_chunk=f"{measured.TASK['queue']['rowsRead'] / measured.CHUNKS:.0f}",
    )


def _free_row(name: str, words: str) -> str:
    taken = [measured.BATCH[route, "free"][name] for route in ROUTES]
    days = [_count(batches_a_day(route, name)) for route in ROUTES]
    return "| " + " | ".join([words, *(f"{amount:,.10g}" for amount in taken), *days]) + " |"


def _count(batches: float) -> str:
    if math.isinf(batches):
        return ""
    return f"{batches:,.0f}" if batches >= 10 else f"{batches:.1f}"


_SECTION = """
## A batch of {lines} lines

The lines and the answers have some 300 characters each, and each model call takes five seconds. What the model costs
is not included. The counters come from a simulation of the platform, from the upload to the erasure of the files; the
rows read come from the local runtime (`python -m bench.batches --counts`).

On the free plan:

| | a batch, queue | a batch, objects | batches a day, queue | batches a day, objects |
| --- | --- | --- | --- | --- |
{free}

The first limit:

- queue: {first[0]}
- durable-object: {first[1]}

A batch on the queue and the paid plan, at the prices beyond what a month includes:

| | a batch | dollars |
| --- | --- | --- |
{paid}

Together {total} dollars, without CPU. A line takes {cpu_ms} ms of processor time in all processes of `make dev`, which
would be {cpu_cost} dollars a batch. With calls of 2 to 10 s the batch writes {uneven} rows to D1. It reads
{rows_read} rows a line; a chunk of a task takes {of_chunk}. Without objects (`direct`) calls end one by one, and a
batch with such calls writes 1.3 rows a line.
"""

"""Runs cases by name, both in the conformance Worker and on the fakes, without depending on either."""

import json
from typing import Any

from tests.conformance.cases import (
    batch_stories,
    bound_stories,
    d1_counts,
    d1_errors,
    d1_values,
    event_stories,
    file_stories,
    key_stories,
    many_stories,
    month_stories,
    objects,
    queues,
    r2,
    rate_limits,
    seen_stories,
    stories,
    structured_stories,
    submission_stories,
    sweep_stories,
    tally_stories,
    tenant_stories,
    text_file_stories,
    view_stories,
    webhook_stories,
)
from tests.conformance.cases.actor import Actor
from tests.conformance.cases.deliveries import consume
from tests.conformance.cases.registry import WORKER_CASES, describe

STORIES = (
    stories,
    structured_stories,
    submission_stories,
    bound_stories,
    sweep_stories,
    seen_stories,
    event_stories,
    file_stories,
    batch_stories,
    month_stories,
    text_file_stories,
    view_stories,
    key_stories,
    many_stories,
    tally_stories,
    tenant_stories,
    webhook_stories,
)
MODULES = (d1_values, d1_errors, d1_counts, queues, objects, rate_limits, r2, *STORIES)
TABLES = (
    *("deliveries", "notes", "loose", "strict_ones", "checked", "guarded", "watched", "sightings"),
    *("keyed", "plain_keyed", "indexed", "segments", "merges", "failures", "texts", "tasks"),
    *("submissions", "daily_use", "api_keys", "tombstones", "object_places", "seen", "tenant_storage"),
    *("tallies", "folds", "samples", "latest_calls"),
    *("webhook_endpoints", "webhook_deliveries"),
    *("files", "file_parts", "file_use", "file_walks", "batches", "batch_slices", "file_texts"),
)

__all__ = ["Actor", "consume", "run"]


async def run(env: Any, name: str) -> str:
    await env.DB.batch([env.DB.prepare(f"DELETE FROM {table}") for table in TABLES])  # noqa: S608
    try:
        seen = await WORKER_CASES[name](env)
    except Exception as error:  # noqa: BLE001 - it is the result
        seen = {"case raised": describe(error)}
    return json.dumps(seen, sort_keys=True)

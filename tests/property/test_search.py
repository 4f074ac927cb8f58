"""A search of the list finds the same tasks as a plain filter over all tasks, for any names and any searched text."""

import string
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import new_task_id, split_task_key, task_key_of
from src.kernel.domain.task import Failure, NewTask, Route, Status, TaskOptions
from src.kernel.store.claims import Fail, Finish
from src.kernel.store.rows import ListFilter, folded, span
from tests.support.store_bench import RETENTION_MS, START_MS, StoreBench, outputs

DEFAULT_MODEL = "usual"
# The letters of the drawn names: in both cases and without case, of one byte and of several, wildcards, quotes, and
# characters special to SQL and JSON.
LETTERS = st.sampled_from("aAbBzZéÉßıİ😀報 %_'\"\\:*-0f7\n")
NAMES = st.text(LETTERS, max_size=6)
METADATA = st.dictionaries(
    st.sampled_from(["name", "title", "label", "other"]),
    st.one_of(NAMES, st.integers(0, 9), st.none(), st.lists(NAMES, max_size=2)),
    max_size=3,
)
TASKS = st.fixed_dictionaries(
    {
        "text": NAMES.map(lambda text: text + "x"),
        "metadata": METADATA,
        "model": st.sampled_from([None, "other", DEFAULT_MODEL]),
        "route": st.sampled_from(Route),
        "end": st.sampled_from([None, "failed", "completed"]),
    }
)
SOUGHT = st.fixed_dictionaries(
    {
        "status": st.sampled_from([None, *Status]),
        "route": st.sampled_from([None, *Route]),
        "error_code": st.sampled_from([None, TaskCode.MODEL_REFUSED, TaskCode.MODEL_TIMEOUT]),
        "model": st.sampled_from([None, "other", DEFAULT_MODEL, "oth"]),
        "text": st.none() | st.text(LETTERS, min_size=1, max_size=3).map(folded),
    }
)


def write(bench: StoreBench, tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, task in enumerate(tasks):
        key = task_key_of("local", new_task_id(START_MS + at * 70_000, bytes(10)))
        options = TaskOptions(metadata=task["metadata"], model=task["model"])
        new = NewTask(
            task_key=key,
            route=task["route"],
            text=task["text"],
            instructions="do",
            cuts=(len(task["text"]),),
            overlap=0,
            merge_chars=100,
            created_at=START_MS + at,
            options=options,
        )
        bench.run(bench.store.insert(new, 10_000))
        task |= {"id": split_task_key(key)[1], "line": new.first_line}
        if task["end"] is not None:
            claim = bench.claim(key)
            task["route"] = Route.QUEUE
            refused = Failure(TaskCode.MODEL_REFUSED, "401", False)
            if task["end"] == "failed":
                assert bench.step(claim, Fail(RETENTION_MS, refused), failed=1)
            else:
                assert bench.step(claim, Finish(RETENTION_MS), outputs=outputs(0), completed=1)
                task["line"] = None
    return list(tasks)


def plainly(task: dict[str, Any], sought: dict[str, Any]) -> bool:
    status = {None: "pending", "failed": "failed", "completed": "completed"}[task["end"]]
    code = "model_refused" if task["end"] == "failed" else None
    texts = [task["metadata"].get(name) for name in ("name", "title", "label")] + [task["line"]]
    lower = dict(zip(string.ascii_uppercase, string.ascii_lowercase, strict=True))
    names = ["".join(lower.get(letter, letter) for letter in text) for text in texts if isinstance(text, str)]
    wanted = sought["text"]
    return (
        sought["status"] in {None, status}
        and sought["route"] in {None, task["route"]}
        and sought["error_code"] in {None, code}
        and sought["model"] in {None, task["model"] or DEFAULT_MODEL}
        and (wanted is None or task["id"].startswith(wanted) or any(wanted in name for name in names))
    )


@settings(deadline=None)
@given(st.lists(TASKS, max_size=8), SOUGHT, st.integers(1, 4), st.integers(1, 9))
@example([{"text": "%_x", "metadata": {"name": "É"}, "model": None, "route": Route.QUEUE, "end": None}], {
    "status": None, "route": None, "error_code": None, "model": None, "text": "%_"
}, 1, 1)  # fmt: skip
def test_a_search_is_a_plain_filter(
    tasks: list[dict[str, Any]], sought: dict[str, Any], most: int, walk_most: int
) -> None:
    with ExitStack() as stack:
        bench = StoreBench()
        stack.callback(bench.database.close)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(limits, "LIST_WALK_MOST", walk_most)
        written = write(bench, tasks)
        only = ListFilter(**sought, default_model=DEFAULT_MODEL if sought["model"] else None)
        found: list[str] = []
        before: str | None = None
        for _ in range(len(tasks) + 2):
            page = bench.run(
                bench.store.list(span("local", before_id=before, from_ms=None, until_ms=None), only=only, most=most)
            )
            assert len(page.tasks) <= most
            found += [task.id for task in page.tasks]
            if page.last is None:
                break
            before = split_task_key(page.last)[1]
        assert page.last is None
        assert found == [task["id"] for task in written[::-1] if plainly(task, sought)]
        counts = bench.run(bench.store.counts(span("local", before_id=None, from_ms=None, until_ms=None), only))
        newest = written[::-1][:walk_most]
        anyhow = [task for task in newest if plainly(task, sought | {"status": None})]
        ends = [task["end"] or "pending" for task in anyhow]
        assert {status: many for status, many in counts.of.items() if many} == {one: ends.count(one) for one in ends}
        assert (counts.among, counts.all) == (len(newest), len(newest) < walk_most)

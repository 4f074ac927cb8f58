"""The store's transitions: which worker may make each, which are refused, and what sending a write twice does."""

import re
from collections.abc import Callable

import pytest

from src.kernel.calls.model_health import LatestCall
from src.kernel.domain.errors import (
    SchemaMissing,
    StoreCallsSpent,
    StoreError,
    StoreFull,
    StoreQuotaExhausted,
    StoreUnavailable,
)
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.structure import Rejection, Structure
from src.kernel.domain.task import TRANSITIONS, Kind, Status
from src.kernel.store import admission, latest_calls, seen, sweep, views, work_statements
from src.kernel.store.absence import AbsenceStore
from src.kernel.store.claims import (
    AttemptEntry,
    CallKey,
    Claim,
    ClaimRefusal,
    Continue,
    Fail,
    FailedCall,
    Finish,
    Release,
    SharedCalls,
    Tries,
    Unclaimed,
)
from src.kernel.store.d1 import BoundStatement, Database
from src.kernel.store.rows import ListFilter
from tests.conformance.cases.steps import progress
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import OVERLOADED, ROWS_USED_UP, SqliteD1
from tests.support.store_bench import DEADLINE_MS, FAILURE, LEASE_MS, OVERDUE, RETENTION_MS, StoreBench, outputs

Act = Callable[[StoreBench, Claim | None], object]


def _step(step) -> Act:
    def act(bench: StoreBench, claim: Claim | None) -> object:
        # If the claim was refused, there is no step, which counts as refused.
        if claim is None:
            return False
        return bench.step(claim, step, outputs=outputs(0, 1), completed=2)

    return act


def resume(bench: StoreBench, claim: Claim | None) -> object:
    bench.database.rows("UPDATE tasks SET wait_reason = 'model_away', in_flight = '[]' WHERE finished_at IS NULL")
    return bench.run(bench.store.beside(AbsenceStore).end_pauses([TaskKey("task")]))


ACTS: dict[str, Act] = {
    "claim": lambda bench, claim: isinstance(bench.try_claim(), Claim),
    "take_over": lambda bench, claim: (bench.pass_ms(LEASE_MS + 1), isinstance(bench.try_claim(), Claim))[1],
    "progress": _step(Continue(LEASE_MS)),
    "release": _step(Release(0, LEASE_MS)),
    "resume": resume,
    "finish": _step(Finish(RETENTION_MS)),
    "fail": _step(Fail(RETENTION_MS, FAILURE)),
    "dead_letter": lambda bench, claim: (
        bench.pass_ms(LEASE_MS + 1),
        bench.run(bench.store.dead_letter(TaskKey("task"), FAILURE, RETENTION_MS)),
    )[1],
    "give_up": lambda bench, claim: (
        bench.pass_ms(LEASE_MS + 1),
        bench.run(bench.store.give_up([TaskKey("task")], 0, FAILURE, RETENTION_MS)),
    )[1],
    "expire": lambda bench, claim: (
        bench.pass_ms(DEADLINE_MS),
        bench.run(bench.store.expire([TaskKey("task")], OVERDUE, RETENTION_MS)),
    )[1],
    "cancel": lambda bench, claim: bench.run(bench.store.cancel(TaskKey("task"), RETENTION_MS))[0],
    "retry": lambda bench, claim: bench.run(bench.store.retry(TaskKey("task"), LEASE_MS)),
}


# A claim that repeats its own write succeeds and changes nothing, since the write has already been made.
RESENT = {("fail", Status.FAILED), ("finish", Status.COMPLETED)}


@pytest.mark.parametrize("source", Status)
@pytest.mark.parametrize("name", TRANSITIONS)
def test_the_sql_is_the_table(bench: StoreBench, name: str, source: Status):
    claim = bench.in_status(source)
    before = bench.row("task")
    granted = ACTS[name](bench, claim)
    after = bench.row("task")
    # A task that another worker takes over has a holder. A take-over of a pending task is a plain claim.
    sources = {*TRANSITIONS[name].sources, *({Status.PENDING} if name == "take_over" else ())}
    if source in sources:
        assert granted
        assert after["status"] == TRANSITIONS[name].target if name != "claim" else "processing"
    elif (name, source) in RESENT:
        assert granted
        assert {**before, "calls_minimum": 2, "step": after["step"], "wake_at": after["wake_at"]} == {
            **after,
            "failed": before["failed"],
            "completed": before["completed"],
        }
    else:
        assert not granted
        assert after == before


def test_a_failure_for_good_outlasts_its_worker(bench: StoreBench):
    bench.insert(chunks=3)
    claim = bench.claim()
    failed = [FailedCall(CallKey(0, at), Tries(2, 3), at != 1, FAILURE) for at in range(3)]
    assert bench.step(claim, failures=failed, failed=2)
    assert bench.step(claim, outputs=outputs(2), completed=1, failed=1)
    bench.pass_ms(LEASE_MS)
    heir = bench.claim()
    assert (heir.failed_for_good, heir.tried) == ({CallKey(0, 0): FAILURE}, {CallKey(0, 1): Tries(2, 3)})
    chunks = bench.run(bench.store.chunks(TaskKey("task")))
    assert chunks is not None
    assert [(chunk.index, chunk.failure) for chunk in chunks] == [(0, FAILURE), (2, None)]
    assert bench.step(heir, Fail(RETENTION_MS, FAILURE), completed=1, failed=1)
    assert bench.run(bench.store.retry(TaskKey("task"), LEASE_MS)) is not None
    again = bench.claim()
    assert (again.failed_for_good, again.tried) == ({}, {})


def test_announced_calls_become_doubted_when_the_claim_is_taken_over(bench: StoreBench):
    bench.insert()
    claim = bench.claim()
    keys = [CallKey(0, 0), CallKey(0, 1)]
    assert bench.step(claim, in_flight=keys)
    bench.pass_ms(LEASE_MS + 1)
    before = bench.run(bench.store.task(TaskKey("task")))
    heir = bench.claim()
    after = bench.run(bench.store.task(TaskKey("task")))
    assert before is not None
    assert after is not None
    for usage in (before.usage, after.usage):
        assert (usage.model_calls, usage.in_doubt) == (2, 2)
    assert heir.doubted == frozenset(keys)


def test_the_sweep_looks_at_a_task_that_found_no_room_when_its_rest_is_over(bench: StoreBench):
    bench.insert(deadline_ms=700_000)
    claim = bench.claim()
    assert bench.run(bench.store.stand_down(claim, progress(claim), Release(600_000, 660_000)))
    row = bench.row("task")
    assert (row["not_before"], row["wake_at"]) == (bench.time_ms + 600_000, bench.time_ms + 660_000)


@pytest.mark.parametrize("end", ["cancelled", "overdue", "taken over", "given back"])
def test_who_may_announce_no_calls_leaves_nothing_of_the_room_that_he_asked_for(bench: StoreBench, end: str):
    bench.insert(deadline_ms=LEASE_MS + 1)
    claim = bench.claim()
    assert bench.step(claim, in_flight=[CallKey(0, 1)])
    match end:
        case "cancelled":
            assert bench.run(bench.store.cancel(TaskKey("task"), 1_000)).changed
        case "given back":
            assert bench.step(claim, Release(0, 0), in_flight=[CallKey(0, 1)])
        case _:
            bench.pass_ms(LEASE_MS + (end == "overdue"))
            assert isinstance(bench.try_claim(), Claim) == (end == "taken over")
    before = bench.row("task")
    assert not bench.step(claim, Continue(LEASE_MS, room_bytes=1_000), in_flight=[CallKey(0, 0)])
    assert bench.row("task") == before


@pytest.mark.parametrize(("max_calls", "enough"), [(3, False), (4, True)])
def test_calls_that_were_out_at_the_end_are_on_the_budget(bench: StoreBench, max_calls: int, enough: bool):
    bench.insert()
    assert bench.step(bench.claim(), in_flight=[CallKey(0, 0), CallKey(0, 1)])
    assert bench.run(bench.store.cancel(TaskKey("task"), RETENTION_MS)).changed
    put_back = bench.run(bench.store.retry(TaskKey("task"), LEASE_MS, max_calls=max_calls))
    assert (put_back is not None) is enough


def test_a_task_of_a_kind_that_only_newer_code_knows_is_left_to_it(bench: StoreBench):
    """No worker claims it, and no sweep fails it or tells webhooks about it, because newer code ends it another way."""
    bench.insert()
    bench.database.rows("PRAGMA ignore_check_constraints = ON")
    bench.database.rows("UPDATE tasks SET kind = 'newer', deadline_at = created_at + 1")
    assert bench.try_claim() == Unclaimed(ClaimRefusal.UNKNOWN_KIND)
    bench.pass_ms(1)
    assert bench.run(bench.store.expire([TaskKey("task")], OVERDUE, RETENTION_MS)) == []
    found = bench.run(bench.store.task(TaskKey("task")))
    assert found is not None
    assert (found.kind, found.status) == (None, Status.PENDING)
    bench.database.rows("UPDATE tasks SET kind = 'file', deadline_at = NULL")
    assert bench.claim().kind is Kind.FILE


def test_the_log_of_a_call_begins_with_its_first_entry(bench: StoreBench):
    """A failed call may be stored without an entry before it has one."""
    bench.insert()
    claim = bench.claim()
    for entry in (None, AttemptEntry(0, 1_000, True, "m", "queue", 1, FAILURE)):
        failed = FailedCall(CallKey(0, 0), Tries(1, 1), False, FAILURE, entry=entry)
        assert bench.step(claim, failures=[failed])
    assert bench.database.rows("SELECT json_array_length(log) AS entries FROM failures") == [{"entries": 1}]


def test_a_rejected_answer_is_shown_for_its_own_task(bench: StoreBench):
    for name in ("one", "other"):
        bench.insert(name, structure=Structure(gaps=True))
        rejected = Rejection(f"of {name}", (("", "an object"),))
        failed = FailedCall(CallKey(0, 0), Tries(1, 1), True, FAILURE, gap_chars=1, rejection=rejected)
        assert bench.step(bench.claim(name), failures=[failed], failed=1)
    for name in ("one", "other"):
        chunks = bench.run(bench.store.chunks(TaskKey(name))) or []
        assert [chunk.rejected and chunk.rejected.answer for chunk in chunks if chunk.index == 0] == [f"of {name}"]


def test_only_the_tasks_that_are_asked_for_are_read(bench: StoreBench):
    for name in ("one", "other"):
        bench.insert(name)
    assert [task.task_key for task in bench.run(bench.store.tasks([TaskKey("one")]))] == ["one"]


def test_an_outage_is_told_apart_from_a_bug(bench: StoreBench):
    bench.insert()
    sent = bench.database.batches
    bench.database.fail(OVERLOADED, times=3)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.task(TaskKey("task")))
    assert bench.database.batches == sent + 3
    bench.database.fail("D1_ERROR: UNIQUE constraint failed: SQLITE_CONSTRAINT")
    with pytest.raises(StoreError) as caught:
        bench.run(bench.store.task(TaskKey("task")))
    assert type(caught.value) is StoreError
    assert bench.database.batches == sent + 4


@pytest.mark.parametrize(
    "message",
    [
        "D1 DB reset because its code was updated.",
        "D1 DB exceeded its CPU time limit and was reset.",
        "D1 DB storage operation exceeded timeout which caused object to be reset.",
        "Internal error while starting up D1 DB storage caused object to be reset.",
        "Cannot resolve D1 DB due to transient issue on remote node.",
        "words that Cloudflare has not written yet",
    ],
)
def test_an_unknown_error_may_have_landed(bench: StoreBench, message: str):
    """If an error does not say that the statement was refused, the write may have landed, so it is sent again."""
    bench.insert()
    sent = bench.database.batches
    bench.database.fail(f"D1_ERROR: {message}", "after", 1)
    claim = bench.claim()
    assert (bench.database.batches, claim.fence) == (sent + 2, bench.row("task")["fence"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ROWS_USED_UP, StoreQuotaExhausted),
        (ROWS_USED_UP.replace("write", "read"), StoreQuotaExhausted),
        ("D1_ERROR: Exceeded maximum DB size", StoreFull),
        ("D1_ERROR: Exceeded maximum account storage limit", StoreFull),
        ("D1_ERROR: database or disk is full: SQLITE_FULL", StoreFull),
        ("D1_ERROR: Too many API requests by single Worker invocation.", StoreCallsSpent),
        ("Error: Too many subrequests by single Worker invocation.", StoreCallsSpent),
    ],
)
def test_what_an_allowance_refuses_is_not_sent_again(bench: StoreBench, message: str, expected: type[StoreError]):
    """A write that is refused for a used-up allowance is not sent again, since that would only cost more."""
    sent = bench.database.batches
    bench.database.fail(message)
    with pytest.raises(expected) as caught:
        bench.run(bench.store.task(TaskKey("task")))
    assert isinstance(caught.value, StoreUnavailable)
    assert bench.database.batches == sent + 1


def test_a_missing_schema_is_named():
    empty = SqliteD1(migrated=False)
    bench = StoreBench()
    with pytest.raises(SchemaMissing):
        bench.run(task_store(Database(empty, Meter())).ready())
    empty.close()
    bench.database.close()


@pytest.mark.parametrize(
    "bound",
    [
        sweep.DUE.bind(most=10, tenants_served=10, apart_ms=1, in_vain=2),
        sweep.PAST_RETENTION.bind(most=10, chunks_most=10),
        views.TASK.bind(task_key="t", late_ms=1, in_vain=2, queued_ms=1, most_ahead=1),
        seen.NUDGE.bind(task_key="t", delay_ms=1, late_ms=1, in_vain=2),
        seen.BACKLOG.bind(),
        views.STATUS.bind(task_key="t"),
        views.RESULT.bind(task_key="t", most_chars=9, most_of_value=9),
        views.LIST.bind(first="a:", behind="a:~", most=10),
        views.LIST_FILTERED.bind(
            first="a:", behind="a:~", most=10, **ListFilter(Status.FAILED)._asdict(), walk_most=500
        ),
        admission.OUTCOME.bind(task_key="t", tenant="a", counted_most=10),
        work_statements.CLAIM.bind(
            task_key="t",
            holder="h",
            host="",
            route="queue",
            lease_ms=1,
            start_ms=1,
            early_ms=1,
            first_chunks="[]",
            priced="[]",
            seen_fence=None,
            rests_ms="[]",
            least_ms=0,
            stands_in=0,
            model="m",
            shared_ms=1,
        ),
        latest_calls.READ_SHARED.bind(id="a:m"),
    ],
)
def test_no_statement_reads_the_whole_table(bench: StoreBench, bound: BoundStatement):
    uses_indexes(bench, bound)


def uses_indexes(bench: StoreBench, bound: BoundStatement) -> None:
    plan = bench.database.rows(f"EXPLAIN QUERY PLAN {bound.sql}", *bound.values)
    details = [str(row["detail"]) for row in plan]
    assert details
    # The plan may scan only small things: a subquery's result, a recursion over tenants, object slots, or one row.
    bounded = r"json_each|tenants|shifts|found|seated|taken|CONSTANT ROW|\(subquery-\d+\)"
    assert not [detail for detail in details if re.match(rf"SCAN (?!{bounded})(?!.*USING)", detail)], details
    # To search a minimum without an index has no bound: SQLite reads up to the first row that fits.
    assert not [detail for detail in details if re.fullmatch(r"SEARCH \w+ USING PRIMARY KEY", detail)], details
    assert any(re.match(r"SEARCH \w+ USING", detail) for detail in details), details


def test_latest_calls_go_with_the_tenants_last_task(bench: StoreBench):
    shared = SharedCalls((LatestCall(1, 100, False),), bench.time_ms)
    tasks = [bench.insert(key) for key in ("acme:1", "acme:2", "acme2:1")]
    claims = [bench.claim(key) for key in tasks]
    for claim in claims:
        for model in ("m", "n"):
            made = progress(claim, shared=shared, step=claim.step + 1)
            assert bench.run(bench.store.step(claim, made, Continue(LEASE_MS), model=model))

    def left() -> list[str]:
        return [str(row["id"]) for row in bench.database.rows("SELECT id FROM latest_calls ORDER BY id")]

    bench.run(bench.store.erase(tasks[0]))
    assert left() == ["acme2:m", "acme2:n", "acme:m", "acme:n"]
    bench.run(bench.store.erase(tasks[1]))
    assert left() == ["acme2:m", "acme2:n"]
    late = progress(claims[1], shared=shared, step=claims[1].step + 2)
    assert not bench.run(bench.store.step(claims[1], late, Continue(LEASE_MS), model="m"))
    assert left() == ["acme2:m", "acme2:n"]


def test_ended_tasks_cost_a_count_of_those_in_flight_nothing(bench: StoreBench):
    bound = admission.OUTCOME.bind(task_key="a:t", tenant="a", counted_most=101)
    plan = bench.database.rows(f"EXPLAIN QUERY PLAN {bound.sql}", *bound.values)
    assert any("tasks_to_wake (tenant=?)" in str(row["detail"]) for row in plan), plan

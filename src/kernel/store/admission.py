"""Writes new tasks to D1, if their idempotency key and their tenant's limits allow it, and retries ended tasks.

A submission is one transaction, which accepts the task, or finds that it was accepted before, or refuses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..domain import limits
from ..domain.errors import StoreUnavailable
from ..domain.ids import TaskKey, split_task_key
from ..domain.task import BUDGET_EXHAUSTED, COST_EXHAUSTED, NewTask, Status
from . import d1, options
from .d1 import BoundStatement, Row, Statement, Value, as_json, statement
from .ending import TOMBSTONE_MS, StandingStore
from .fragments import (
    HAS_TEXT,
    IN_DOUBT,
    NEW_STARTS_AT,
    NOW,
    OPTION_PARAMETERS,
    OPTIONS,
    SCHEDULED,
    STARTS_AT,
    delete_parts,
    next_look,
    unended,
    wake,
)
from .tallies import COUNTED, count_erased, count_retried

if TYPE_CHECKING:
    from .resend import Resend  # The module is imported only when the first request to /v1 comes.


# --- With an Idempotency-Key -----------------------------------------------------------------------------
# `:submission` is the tenant, a colon and the client's Idempotency-Key. `:digest` identifies the content of the
# request.

# Takes an Idempotency-Key for a task, if it is free or has expired. Of two requests at once, the first gets it. Goes
# before INSERT_TASK.
TAKE_KEY = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at) VALUES (:submission, :task_key, :digest, {NOW} + :valid_ms)
ON CONFLICT DO UPDATE SET task_id = excluded.task_id, digest = excluded.digest, expires_at = excluded.expires_at,
  replayed = 0
WHERE expires_at <= {NOW} AND task_id <> excluded.task_id
""")

# Records that a repeated request is about to be answered with the task of its Idempotency-Key, so that this task is not
# withdrawn. `:task_key` is the task that the repeated request would have made if it were not a repetition.
NOTE_REPLAY = statement("""
UPDATE submissions SET replayed = 1
WHERE id = :submission AND task_id <> :task_key AND digest = :digest AND replayed = 0
""")

# Frees an Idempotency-Key again if the task that took it was refused.
GIVE_KEY_BACK = statement("""
DELETE FROM submissions WHERE id = :submission AND task_id = :task_key
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
""")

# Reads which task has an Idempotency-Key.
KEY_HOLDER = statement("SELECT task_id, digest FROM submissions WHERE id = :submission")

# Does the same for a key that has not expired, because this read runs without TAKE_KEY, which replaces expired keys.
VALID_KEY_HOLDER = statement(f"{KEY_HOLDER.text} AND expires_at > {NOW}")

# --- The new task ----------------------------------------------------------------------------------------

_TODAY = f"({NOW} / 86400000)"
_DEADLINE_AT = f"{NEW_STARTS_AT} + :deadline_ms"


# Writes a pending task, unless another request has its Idempotency-Key or a limit of its tenant is reached. If
# INSERT_TASK is sent twice, the second send changes nothing, because the caller chose the task's key. If the write
# arrives after the task was erased or withdrawn, the task's tombstone stops it. If no worker claims the task within
# `:unclaimed_ms`, the sweep dispatches it again. A task with `:starts_at` in the future is first dispatched then.
# These may be NULL: `:model`, `:first_line`, `:deadline_ms`, `:max_calls`, `:submission` (without an Idempotency-Key),
# and the limits `:tasks_most` (in flight) and `:characters_most` (a day).
def insert_task(kind: str = "NULL", condition: str = "1", also: Sequence[str] = ()) -> Statement:
    """Make the statement that writes a task of a `kind` under a `condition`, both SQL, and columns `also`."""
    columns = "".join(f", {name}" for name in ("kind", *also)) if kind != "NULL" else ""
    values = "".join(f", {value}" for value in (kind, *(f":{name}" for name in also))) if kind != "NULL" else ""
    return statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, merge_chars, calls_minimum, created_at, first_line,
  deadline_at, not_before, wake_at, first_most{columns})
SELECT :task_key, 'pending', :route, {OPTION_PARAMETERS}, :total, :merge_chars, :calls_minimum, :created_at,
  :first_line, {_DEADLINE_AT}, coalesce(:starts_at, 0), {wake(next_look(NEW_STARTS_AT), _DEADLINE_AT)},
  :first_most{values}
WHERE (:submission IS NULL OR EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND (:characters_most IS NULL OR :characters_most >=
    :characters + coalesce((SELECT characters FROM daily_use WHERE tenant = :tenant AND day = {_TODAY}), 0))
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key) AND {condition}
ON CONFLICT DO NOTHING
""")


INSERT_TASK = insert_task()

# A condition: the task's row was written just now, and its text not yet, so the submission's transaction runs for the
# first time.
_FRESH = """EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
  AND NOT EXISTS (SELECT 1 FROM texts WHERE task_id = :task_key)"""

# Adds the characters of a new task, once, to those that its tenant has used today. Goes before INSERT_TEXT.
COUNT_CHARACTERS = statement(f"""
INSERT INTO daily_use (tenant, day, characters) SELECT :tenant, {_TODAY}, :characters WHERE {_FRESH}
ON CONFLICT DO UPDATE SET day = excluded.day,
  characters = excluded.characters + CASE day WHEN excluded.day THEN characters ELSE 0 END
""")

# Writes the text of a new task. `:submission` is NULL without an Idempotency-Key. `:output_schema` and `:join_rules`
# are JSON objects, or NULL, and `:headings` may be NULL. `:lead` characters before each chunk are read with it.
INSERT_TEXT = statement("""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission, output_schema, join_rules, lead, headings)
SELECT :task_key, :input, :instructions, :cuts, :overlap, :submission, :output_schema, :join_rules, :lead, :headings
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Says in which status a task is, NULL if it does not exist, and how many tasks of its tenant are unfinished: counted up
# to `:counted_most`, and as many more as are to start later.
OUTCOME = statement(f"""
SELECT (SELECT status FROM tasks WHERE id = :task_key) AS status,
  {unended(f":counted_most + {SCHEDULED}")} AS unended, {SCHEDULED} AS scheduled
""")

# --- The new task taken back -----------------------------------------------------------------------------

# A condition: a repeated request has been answered with this task.
_SHARED = """EXISTS (SELECT 1 FROM submissions JOIN texts ON submissions.id = texts.submission
  WHERE texts.task_id = :task_key AND submissions.task_id = :task_key AND replayed = 1)"""

# Subtracts the characters of a task about to be withdrawn from its tenant's of today, unless the task is of yesterday.
# Goes before WITHDRAW.
UNCOUNT_CHARACTERS = statement(f"""
UPDATE daily_use SET characters = max(0, characters - :characters) WHERE tenant = :tenant AND day = {_TODAY}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND created_at / 86400000 = {_TODAY}) AND NOT {_SHARED}
""")

# Withdraws a task, because the answer says that nothing was accepted. WITHDRAW does not withdraw a task with which a
# repeated request was answered. A tombstone of the withdrawn task is written first and stays for `:tombstone_ms`,
# because the submission may still arrive after the withdrawal.
BURY_WITHDRAWN = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms WHERE NOT {_SHARED}
ON CONFLICT DO NOTHING
""")
# Adds a task about to be withdrawn to the sums, if a worker has already claimed it. Goes before WITHDRAW.
WITHDRAW_COUNT = count_erased(f"id = :task_key AND started_at IS NOT NULL AND NOT {_SHARED}")
WITHDRAW = statement(f"DELETE FROM tasks WHERE id = :task_key AND NOT {_SHARED}")

# Deletes the parts of a withdrawn task, if the task's row is gone.
WITHDRAW_PARTS = delete_parts("=", ":task_key", "AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)")

# --- A retried task --------------------------------------------------------------------------------------

# SPENT counts all model calls of an ended task, and LEFT the least number of calls that the task still needs.
SPENT = "(calls_settled + calls_in_doubt + json_array_length(in_flight))"
LEFT = "(total - completed + (reduce = 'merge' AND total > 1))"

# A condition: the task has failed or was cancelled, and its tenant's limit allows one more task in flight.
# `:tasks_most` is NULL without such a limit. `:max_calls` is a new budget, or NULL to keep the old one, and `:max_cost`
# alike. A budget that ran out must become larger. A batch is not retried, because its files are complete, nor is a task
# whose text was in a file that is gone.
_RETRYABLE = f"""generation = :generation AND status IN ('failed', 'cancelled') AND kind IS NOT 'batch' AND {HAS_TEXT}
  AND (:max_calls IS NULL OR :max_calls >= {SPENT} + {LEFT})
  AND (error_code IS NOT '{BUDGET_EXHAUSTED}' OR coalesce(:max_calls > max_calls, 0))
  AND (error_code IS NOT '{COST_EXHAUSTED}' OR coalesce(:max_cost > max_cost, 0))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)"""

# Adds the end of a task that is retried to the sums over ended tasks, unless that was done before. Goes before RETRY.
RETRY_COUNT = statement(count_retried(f"id = :task_key AND {_RETRYABLE}"))

# Sets the counts of all failed calls to 0, even of calls that failed for good, so that their outputs get all their
# attempts again. SET_BACK keeps the logs of the failed calls.
SET_BACK = (
    "attempts = 0, counted = 0, calls = 0, final = 0, rests_until = NULL, held = NULL, rung = NULL, gap_chars = NULL"
)

# A gap stays open once merges are planned, which were made, and paid, without it. Otherwise gaps open again.
OPENS_AGAIN = """(level > 0 OR gap_chars IS NULL OR final = 0
  OR NOT EXISTS (SELECT 1 FROM merges WHERE merges.task_id = failures.task_id))"""

# Sets the counts of a retried task's failed calls to 0. Goes before RETRY.
RETRY_FAILURES = statement(f"""
UPDATE failures SET {SET_BACK} WHERE task_id = :task_key AND {OPENS_AGAIN}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {_RETRYABLE})
""")

# The assignments with which an UPDATE retries a task. The task becomes pending and counts as just dispatched, as after
# a submission: the sweep dispatches it again if no worker claims it within `:unclaimed_ms`. After the other statements
# of a retry, only gaps that stay open count as failed for good. If none is left, the coverage becomes NULL. For a task
# without a coverage no row of `failures` is read.
_GAPS_LEFT = "(SELECT count(*) FROM failures WHERE task_id = tasks.id AND level = 0 AND final = 1)"
PUT_BACK = f"""status = 'pending', fence = fence + 1, generation = generation + 1, counted = {COUNTED},
  attempts = attempts + (started_at IS NOT NULL), {IN_DOUBT},
  failed = iif(structured IS NULL, 0, {_GAPS_LEFT}),
  coverage = CASE WHEN coverage < 1 AND EXISTS (
    SELECT 1 FROM failures WHERE task_id = tasks.id AND level = 0 AND final = 1 AND gap_chars >= 0
  ) THEN coverage END,
  stalls = 0, stalled_since = NULL, rate_waits = 0, idle_runs = 0,
  away_since = NULL, away_waits = 0, last_error = NULL, wait_reason = NULL, waits_for = NULL,
  wait_until = NULL, asked_until = NULL, dispatches = 0, sent_at = {NOW}, not_before = coalesce(starts_at, 0),
  finished_at = NULL, error_code = NULL, error_message = NULL, error_retryable = NULL,
  deadline_at = {STARTS_AT} + deadline_ms, wake_at = {wake(next_look(STARTS_AT), f"{STARTS_AT} + deadline_ms")}"""

# Retries a failed or cancelled task. The outputs of finished chunks stay, and the deadline begins anew. The fence
# rises, so that the database refuses writes of an earlier worker. The generation rises too, and RETRY names the one
# that was read, so a retry that arrives after the task has ended again changes nothing.
RETRY = statement(f"""
UPDATE tasks SET {PUT_BACK}, max_calls = coalesce(:max_calls, max_calls), max_cost = coalesce(:max_cost, max_cost)
WHERE id = :task_key AND {_RETRYABLE}
RETURNING status
""")


class Limit(StrEnum):
    """A limit of a tenant that can cause the refusal of a task. The refusal of a task shows the name of the limit."""

    TASKS_IN_FLIGHT = "tasks_in_flight"
    CHARACTERS_PER_DAY = "characters_per_day"


class Conditions(NamedTuple):
    """The conditions under which a new or retried task is accepted.

    A condition of a submission that is None is not checked. `idempotency_key` is the client's key, and `digest`
    identifies the content of the request. `resend` detects a repeated request that has no idempotency key.
    `queue_share` is how many unfinished tasks a tenant may have before its tasks count as crowded, those that are to
    start later left out. `later_ms` is how long after its submission the task may start.
    """

    idempotency_key: str | None = None
    digest: str = ""
    tasks_in_flight_most: int | None = None
    characters_a_day_most: int | None = None
    queue_share: int | None = None
    later_ms: int = 0
    resend: "Resend | None" = None

    @property
    def may_be_replayed(self) -> bool:
        """Whether the request may be a repetition of a request that was accepted before."""
        return self.idempotency_key is not None or (self.resend is not None and self.resend.sendings > 0)

    def submission(self, task_key: TaskKey) -> str | None:
        """Return the id of the row in `submissions` that a new task needs, or None if it needs none."""
        if self.resend is not None:
            return self.resend.submission(task_key)
        return None if self.idempotency_key is None else f"{split_task_key(task_key)[0]}:{self.idempotency_key}"


UNCONDITIONAL = Conditions()


class Accepted(NamedTuple):
    """The task is stored. `crowded`: its tenant has more unfinished tasks than its share of the queue."""

    crowded: bool = False


class Replayed(NamedTuple):
    """The submission repeats an accepted one, which made the task `task_key`."""

    task_key: TaskKey


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Another request, with other content, has already used the idempotency key."""


class LimitReached(NamedTuple):
    """A task is refused because a limit of its tenant is reached. Nothing was written."""

    limit: Limit


Outcome = Accepted | Replayed | Mismatched | LimitReached


class AdmissionStore(StandingStore):
    """Accepts new tasks, withdraws them, and retries ended ones. Each method writes in one transaction."""

    async def insert(self, new: NewTask, unclaimed_ms: int, on: Conditions = UNCONDITIONAL) -> Outcome:
        """Write a new pending task if the conditions `on` are met.

        If no worker claims it within `unclaimed_ms`, the sweep dispatches it. If the first send had no answer and a
        client has deleted its task since, a tombstone stops the second send. If the second send is refused, the task is
        withdrawn, because the first send may still succeed.
        """
        outcome = outcome_of(new.task_key, on, await self._database.run(*_submission(new, unclaimed_ms, on)))
        if not isinstance(outcome, Accepted) and self._database.sends > 1:
            try:
                await self.withdraw(new, on)
            except StoreUnavailable as error:
                error.withdrawing = True
                raise
        return outcome

    async def key_holder(self, task_key: TaskKey, on: Conditions) -> Replayed | Mismatched | None:
        """Return the task of an earlier request with the same idempotency key, or that this request sends again.

        Without an idempotency key, it is the smallest possible read. With one, it also records that the key's task is
        about to be returned, so that this task is not withdrawn. It works on a full database too, and D1's reply then
        reports the database's size.
        """
        if (resend := on.resend) is not None:
            return _earlier((await self._database.run(resend.follow(task_key), resend.earlier(task_key)))[-1], task_key)
        tenant, _ = split_task_key(task_key)
        submission = f"{tenant}:{on.idempotency_key or ''}"
        batch = [VALID_KEY_HOLDER.bind(submission=submission)]
        if on.idempotency_key is not None:
            batch.insert(0, NOTE_REPLAY.bind(submission=submission, task_key=task_key, digest=on.digest))
        return _held((await self._database.run(*batch))[-1], on.digest)

    async def withdraw(self, new: NewTask, on: Conditions = UNCONDITIONAL, *, characters: int | None = None) -> None:
        """Withdraw a new task whose write may have succeeded, or may still succeed.

        A task with which a repeated request was answered stays. `characters` is how many characters count against the
        tenant's limit; by default those of the text.
        """
        task_key = new.task_key
        batch = [BURY_WITHDRAWN.bind(task_key=task_key, tombstone_ms=TOMBSTONE_MS)]
        batch += [part.bind(task_key=task_key) for part in (*WITHDRAW_COUNT, WITHDRAW, *WITHDRAW_PARTS)]
        if on.characters_a_day_most is not None:
            tenant, _ = split_task_key(task_key)
            counted = new.characters if characters is None else characters
            batch.insert(0, UNCOUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=counted))
        await self._database.run(*batch)

    async def retry(
        self,
        task_key: TaskKey,
        unclaimed_ms: int,
        on: Conditions = UNCONDITIONAL,
        max_calls: int | None = None,
        max_cost: int | None = None,
    ) -> Accepted | None:
        """Retry a failed or cancelled task if its tenant's limit allows one more.

        `max_calls` and `max_cost` are the retried task's new budgets, or None. Returns None if the task is neither
        failed nor cancelled, or if one of the conditions of RETRY is not met. If the write had to be sent again, a task
        that is now pending counts as retried, because the first send may have retried it.
        """
        now = await self._standing(task_key)
        if now is None:
            return None
        tenant, _ = split_task_key(task_key)
        which: dict[str, Value] = {
            "task_key": task_key,
            "generation": now.generation,
            "tenant": tenant,
            "tasks_most": on.tasks_in_flight_most,
            "max_calls": max_calls,
            "max_cost": max_cost,
        }
        _, _, changed, (facts,) = await self._database.run(
            RETRY_COUNT.bind(**which),
            RETRY_FAILURES.bind(**which),
            RETRY.bind(**which, unclaimed_ms=unclaimed_ms),
            OUTCOME.bind(task_key=task_key, tenant=tenant, counted_most=1 + (on.queue_share or 0)),
        )
        resent = self._database.sends > 1 and facts["status"] == Status.PENDING
        return _accepted(facts, on) if changed or resent else None


def _submission(new: NewTask, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the statements of the transaction that writes a new task. `outcome_of` reads the rows of the last ones."""
    task_key = new.task_key
    submission = on.submission(task_key)
    writes = [INSERT_TASK.bind(**task_values(new, unclaimed_ms, on, submission))]
    if on.characters_a_day_most is not None:
        tenant, _ = split_task_key(task_key)
        writes.append(COUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=new.characters))
    writes.append(text_row(new, submission))
    return holding(task_key, on, writes)


def holding(task_key: TaskKey, on: Conditions, writes: Sequence[BoundStatement]) -> list[BoundStatement]:
    """Wrap a new task's writes in the statements that take its idempotency key and read what became of the new task."""
    tenant, _ = split_task_key(task_key)
    submission = on.submission(task_key)
    batch: list[BoundStatement] = []
    if on.resend is not None:
        batch += [on.resend.follow(task_key), on.resend.take_row(task_key)]
    elif submission is not None:
        valid_ms = limits.IDEMPOTENCY_SECONDS * 1000 + on.later_ms
        batch += [
            TAKE_KEY.bind(submission=submission, task_key=task_key, digest=on.digest, valid_ms=valid_ms),
            NOTE_REPLAY.bind(submission=submission, task_key=task_key, digest=on.digest),
        ]
    batch += writes
    if submission is not None:
        holder = KEY_HOLDER.bind(submission=submission) if on.resend is None else on.resend.earlier(task_key)
        batch += [GIVE_KEY_BACK.bind(submission=submission, task_key=task_key), holder]
    if _is_conditional(on):
        counted_most = max(on.tasks_in_flight_most or 0, 1 + (on.queue_share or 0))
        batch.append(OUTCOME.bind(task_key=task_key, tenant=tenant, counted_most=counted_most))
    return batch


def task_values(new: NewTask, unclaimed_ms: int, on: Conditions, submission: str | None) -> dict[str, Value]:
    """Return the parameters of the statement that writes a new task."""
    return {
        "task_key": new.task_key,
        "tenant": split_task_key(new.task_key)[0],
        "submission": submission,
        "route": new.route,
        "total": len(new.cuts),
        "merge_chars": new.merge_chars,
        "calls_minimum": new.minimum_calls,
        "created_at": new.created_at,
        "unclaimed_ms": unclaimed_ms,
        "first_line": new.first_line,
        "first_most": new.first_most,
        "characters": new.characters,
        "characters_most": on.characters_a_day_most,
        "tasks_most": on.tasks_in_flight_most,
        **options.written(new.options),
    }


def text_row(new: NewTask, submission: str | None) -> BoundStatement:
    """Make the statement that writes the text of a new task."""
    return INSERT_TEXT.bind(
        task_key=new.task_key,
        input=new.text,
        instructions=new.instructions,
        cuts=as_json(new.cuts),
        overlap=new.overlap,
        submission=submission,
        output_schema=new.output_schema,
        join_rules=as_json(dict(new.join_rules)) if new.join_rules else None,
        lead=0 if new.options.long_text is None else new.options.long_text.context_chars,
        headings=new.headings,
    )


def _is_conditional(on: Conditions) -> bool:
    conditions = (on.idempotency_key, on.resend, on.tasks_in_flight_most, on.characters_a_day_most, on.queue_share)
    return any(condition is not None for condition in conditions)


def outcome_of(task_key: TaskKey, on: Conditions, results: Sequence[Sequence[Row]]) -> Outcome:
    """Read from the rows of a submission's transaction whether the new task was accepted, and if not, why."""
    if not _is_conditional(on):
        return Accepted()
    ((facts,), holders) = results[-1], results[-2] if on.submission(task_key) is not None else ()
    if facts["status"] is not None:
        return _accepted(facts, on)
    held = _held(holders, on.digest) if on.resend is None else _earlier(holders, task_key)
    if held is not None:
        return held
    full = on.tasks_in_flight_most is not None and d1.whole(facts, "unended") >= on.tasks_in_flight_most
    return LimitReached(Limit.TASKS_IN_FLIGHT if full else Limit.CHARACTERS_PER_DAY)


def _held(holders: Sequence[Row], digest: str) -> Replayed | Mismatched | None:
    """Read which task has an idempotency key, from the rows of KEY_HOLDER or VALID_KEY_HOLDER."""
    if not holders:
        return None
    same = d1.text(holders[0], "digest") == digest
    return Replayed(d1.task_key(holders[0], "task_id")) if same else Mismatched()


def _earlier(found: Sequence[Row], own: TaskKey) -> Replayed | None:
    """Read from the rows of EARLIER the task of an earlier send of the request, if the present send follows one."""
    others = [task_key for row in found if (task_key := d1.task_key(row, "task_id")) != own]
    return Replayed(others[0]) if others else None


def _accepted(facts: Row, on: Conditions) -> Accepted:
    """Read from the OUTCOME row of an accepted task whether its tenant has more than its share of the queue."""
    waiting = d1.whole(facts, "unended") - d1.whole(facts, "scheduled")
    return Accepted(crowded=on.queue_share is not None and waiting > on.queue_share)

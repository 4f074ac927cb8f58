"""The views of the whole deployment's state, for operators."""

from typing import TypedDict

from ...kernel.api.base.services import Api
from ...kernel.api.base.views import Count, Time, maybe_rfc3339, shown
from ...kernel.domain import limits
from ...kernel.domain.version import MIGRATION, MIGRATIONS, VERSION
from ...kernel.store.seen import Backlog, Seen
from ..webhooks.endpoints_store import WebhookStore
from .tallies import TallyStore


@shown
class BacklogView(TypedDict):
    """The unfinished tasks of all tenants. `oldestPendingSeconds` is null if no task is pending."""

    pending: Count
    processing: Count
    oldestPendingSeconds: Count | None


@shown
class StorageView(TypedDict):
    """The size of the database, and the size from which on it refuses new tasks (`STORAGE_MB_MOST`), both in bytes."""

    bytes: Count
    most: Count


@shown
class FilesView(TypedDict):
    """Where new files are stored: in R2 (`bucket` is true) or in the database.

    `unreachable` counts the unfinished tasks, batches included, whose files lie in R2 although the bucket is not bound
    any more. They wait for it. At most 10,000 are counted.
    `incomplete` counts the unfinished tasks whose text in a file lacks a part in the bucket.
    """

    bucket: bool
    unreachable: Count
    incomplete: Count


@shown
class WebhooksView(TypedDict):
    """How many webhook endpoints of all tenants have failed at their last ten attempts."""

    failing: Count


@shown
class SchemaView(TypedDict):
    """The newest migration that the code knows, and the newest that was applied, null if the database has no record.

    `missing` are known migrations that the record lacks, and `unknown` those in the record that the code does not know.
    """

    known: str
    applied: str | None
    missing: list[str]
    unknown: list[str]


@shown
class OutlookView(TypedDict):
    """When the triggers last came, the backlog, the size of the database, the files, and version and schema.

    A time may be up to five minutes too old. The time is null if the trigger never came.
    """

    lastSweepAt: Time | None
    lastQueueAt: Time | None
    lastAlarmAt: Time | None
    backlog: BacklogView
    storage: StorageView
    files: FilesView
    webhooks: WebhooksView
    version: str
    schema: SchemaView


async def outlook(api: Api) -> OutlookView:
    """Read the state of the whole deployment for operators: triggers, backlog, size, version and schema."""
    times, backlog = await api.store.outlook()
    applied = await api.store.beside(TallyStore).applied_migrations()
    return OutlookView(
        lastSweepAt=maybe_rfc3339(times.get(Seen.SWEEP)),
        lastQueueAt=maybe_rfc3339(times.get(Seen.QUEUE)),
        lastAlarmAt=maybe_rfc3339(times.get(Seen.ALARM)),
        backlog=backlog_view(backlog),
        # The database reports its size with each answer, so `size` is the size at the last read.
        storage=StorageView(bytes=api.isolate.storage.size, most=api.settings.storage_bytes_most),
        files=FilesView(
            bucket=api.invocation.bucket() is not None,
            unreachable=await unreachable(api),
            incomplete=await api.store.beside(TallyStore).incomplete(),
        ),
        webhooks=WebhooksView(failing=await api.store.beside(WebhookStore).failing()),
        version=VERSION,
        schema=SchemaView(
            known=MIGRATION,
            applied=next(iter(applied or ()), None),
            missing=[] if applied is None else [name for name in MIGRATIONS if name not in applied],
            unknown=[name for name in applied or () if name not in MIGRATIONS],
        ),
    )


async def unreachable(api: Api) -> int:
    """Count the unfinished tasks whose files lie in a bucket that is not bound. With a bucket there are none."""
    if api.invocation.bucket() is not None:
        return 0
    return await api.store.beside(TallyStore).unreachable(limits.SAMPLE_TASKS_MOST["paid"])


def backlog_view(backlog: Backlog) -> BacklogView:
    """Show how many tasks are unfinished."""
    return BacklogView(
        pending=backlog.pending,
        processing=backlog.processing,
        oldestPendingSeconds=None if backlog.oldest_ms is None else backlog.oldest_ms // 1000,
    )

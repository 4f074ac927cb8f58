"""Combines all stores of tasks in one class.

Each part is a module of its own, with its SQL in `sql` under the same name.
"""

from .bulk import BulkStore
from .deliveries import DeliveryStore
from .early_erasure import StorageStore
from .ending import EndingStore
from .events import EventStore
from .gap_retries import GapRetryStore
from .seen import SeenStore
from .sweep import SweepStore
from .views import ViewStore
from .window import WindowStore
from .work import WorkStore


class TaskStore(
    GapRetryStore,
    BulkStore,
    WorkStore,
    WindowStore,
    EndingStore,
    EventStore,
    SweepStore,
    SeenStore,
    StorageStore,
    DeliveryStore,
    ViewStore,
):
    """All reads and writes of tasks in D1. Every method may raise StoreError, and every write is safe to send again."""

"""Combines the stores of what each task has. Features make theirs with `TaskStore.beside`."""

from .admission import AdmissionStore
from .early_erasure import StorageStore
from .ending import EndingStore
from .events import EventStore
from .seen import SeenStore
from .sweep import SweepStore
from .views import ViewStore
from .window import WindowStore
from .work import WorkStore


class TaskStore(
    AdmissionStore, WorkStore, WindowStore, EndingStore, EventStore, SweepStore, SeenStore, StorageStore, ViewStore
):
    """All reads and writes of tasks in D1. Each may raise StoreError, and each write is safe to send again."""

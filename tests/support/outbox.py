"""Webhook deliveries in tests: an outbox that sends none, and the deliveries that a sweep finds."""

from src.features.webhooks.deliveries_store import DueDelivery, Outbox, look, read_look
from src.kernel.store.tasks import TaskStore


class Unsent(Outbox):
    """Writes webhook deliveries where tasks end, and sends none."""

    def begin(self) -> None:
        """Do nothing."""


async def due_deliveries(store: TaskStore, plan: str = "free") -> list[DueDelivery]:
    """Return the webhook deliveries that the first read of a sweep finds."""
    (rows,) = (await store.due(9, looks=[look(plan)])).looked
    return read_look(rows)

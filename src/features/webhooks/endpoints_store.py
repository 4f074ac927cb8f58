"""Reads and writes the endpoints of webhooks in D1."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.store import d1
from ...kernel.store.d1 import Row, Store, Value, as_json
from ...kernel.store.ending import TOMBSTONE_MS
from . import deliveries_store
from .rules import AttemptFailure, EndpointKey, Event, endpoint_key_of

_OLD_SECRET_MS = round(limits.OLD_SECRET_SECONDS * 1000)


class WebhookEndpoint(NamedTuple):
    """A webhook endpoint. Times are ms since the epoch. With `old_secret_signs` the previous secret signs too.

    The last `failed_attempts` attempts failed, the latest by `last_failure`.
    """

    key: EndpointKey
    name: str
    url: str
    events: tuple[Event, ...]
    secret_generation: int
    old_secret_signs: bool
    failures: int
    paused_until: int
    failed_attempts: int
    last_failure: AttemptFailure | None
    disabled_at: int | None
    created_at: int
    updated_at: int


class WebhookStore(Store):
    """Reads and writes webhook endpoints. Each method of `WebhookStore` is one call to D1."""

    async def insert(self, key: EndpointKey, name: str, url: str, events: Sequence[Event]) -> WebhookEndpoint | None:
        """Write a webhook endpoint. Returns None if the tenant already has WEBHOOK_ENDPOINTS_MOST webhook endpoints."""
        _, found = await self._database.run(
            deliveries_store.INSERT_ENDPOINT.bind(
                endpoint=key,
                name=name,
                url=url,
                event_types=as_json(events),
                most=limits.WEBHOOK_ENDPOINTS_MOST,
                grave=_grave(key),
                **_of(key.partition(":")[0]),
            ),
            deliveries_store.ENDPOINT.bind(endpoint=key),
        )
        return _endpoint(found[0]) if found else None

    async def find(self, key: EndpointKey) -> WebhookEndpoint | None:
        """Read one endpoint."""
        (found,) = await self._database.run(deliveries_store.ENDPOINT.bind(endpoint=key))
        return _endpoint(found[0]) if found else None

    async def list(self, tenant: str) -> Sequence[WebhookEndpoint]:
        """Read the tenant's webhook endpoints, oldest first."""
        (found,) = await self._database.run(deliveries_store.LIST_ENDPOINTS.bind(**_of(tenant)))
        return [_endpoint(row) for row in found]

    async def failing(self) -> int:
        """Count the endpoints of all tenants whose last ATTEMPTS_FAILING attempts failed."""
        ((row,),) = await self._database.run(deliveries_store.COUNT_FAILING.bind(least=limits.ATTEMPTS_FAILING))
        return d1.whole(row, "failing")

    async def rotate(self, endpoint: WebhookEndpoint, *, keep_old: bool) -> WebhookEndpoint | None:
        """Give a new secret; with `keep_old` the old one signs for a day, too. None: the endpoint is gone."""
        _, found = await self._database.run(
            deliveries_store.ROTATE.bind(
                endpoint=endpoint.key, generation=endpoint.secret_generation, old_ms=_OLD_SECRET_MS if keep_old else 0
            ),
            deliveries_store.ENDPOINT.bind(endpoint=endpoint.key),
        )
        return _endpoint(found[0]) if found else None

    async def delete(self, key: EndpointKey, *, unseen: bool = False) -> bool:
        """Delete a webhook endpoint, and end its remaining deliveries. Returns False if there is none.

        If the write had to be sent again, the endpoint counts as deleted. With `unseen` the write that created the
        endpoint may still arrive, and must then change nothing.
        """
        _, *_, gone = await self._database.run(
            deliveries_store.BURY_ENDPOINT.bind(
                endpoint=key, grave=_grave(key), tombstone_ms=TOMBSTONE_MS, unseen=int(unseen)
            ),
            *deliveries_store.end_all_of(key),
            deliveries_store.DELETE_ENDPOINT.bind(endpoint=key),
        )
        return bool(gone) or self._database.sends > 1


def _of(tenant: str) -> dict[str, Value]:
    # `;` is the character that follows the colon in ASCII
    return {"first": endpoint_key_of(tenant, ""), "behind": f"{tenant};"}


def _grave(key: EndpointKey) -> str:
    """Return the name of an endpoint's tombstone, whose slash no task key has."""
    return f"webhook/{key}"


def _endpoint(row: Row) -> WebhookEndpoint:
    return WebhookEndpoint(
        key=EndpointKey(d1.text(row, "id")),
        name=d1.text(row, "name"),
        url=d1.text(row, "url"),
        events=tuple(Event(name) for name in json.loads(d1.text(row, "event_types"))),
        secret_generation=d1.whole(row, "secret_generation"),
        old_secret_signs=bool(row["old_secret_signs"]),
        failures=d1.whole(row, "failures"),
        paused_until=d1.whole(row, "paused_until"),
        failed_attempts=d1.whole(row, "failed_attempts"),
        last_failure=None if row["last_failure"] is None else AttemptFailure(d1.text(row, "last_failure")),
        disabled_at=d1.maybe_whole(row, "disabled_at"),
        created_at=d1.whole(row, "created_at"),
        updated_at=d1.whole(row, "updated_at"),
    )

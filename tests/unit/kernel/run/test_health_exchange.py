"""What a run tells other isolates about its latest calls."""

import asyncio
from types import SimpleNamespace
from typing import Any

from src.kernel.calls import clock
from src.kernel.calls.model_health import ModelHealth
from src.kernel.run.health_exchange import HealthExchange


def test_outcomes_are_sent_once_and_only_if_the_allowance_suffices_for_more_than_records():
    async def story() -> list[bool]:
        health, now = ModelHealth(), clock.now()
        health.succeeded(0, now)
        health.failed_alone(1, now)
        claim = SimpleNamespace(claimed_ms=0, shared=None)
        allowance = SimpleNamespace(allows_read=lambda groups_out: groups_out < 3)
        context: Any = SimpleNamespace(health=health, claim=claim, granted_at=now, allowance=allowance)
        exchange = HealthExchange(context)
        sent = [exchange.to_send(groups) is not None for groups in (3, 2)]
        exchange.sent()
        return [*sent, exchange.to_send(2) is not None]

    assert asyncio.run(story()) == [False, True, False]

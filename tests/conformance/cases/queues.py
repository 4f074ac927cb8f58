"""Cases about queues: acks and retries, the counts of attempts, redeliveries, and what cannot be sent."""

from collections.abc import Callable
from typing import Any

from tests.conformance.cases.deliveries import brief, deliveries, full, of_one_batch, send
from tests.conformance.cases.registry import attempt_late, now_ms, worker_case

# For each case about one message: what its consumer does at each attempt, how often it comes, and what is compared.
OF_ONE_MESSAGE = {
    "a_clean_return_acks": ([["nothing"]], 1, full),
    "an_explicit_ack": ([["ack"]], 1, brief),
    "attempts_count_from_one": ([["retry"], ["retry"], ["ack"]], 3, brief),
    "retries_used_up_end_in_the_dead_letter_queue": ([["retry"]], 4, full),
    "exceptions_used_up_end_in_the_dead_letter_queue": ([["raise"]], 4, brief),
    "an_exception_retries_what_was_acked_too": ([["ack", "raise"], ["ack"]], 2, brief),
}


def _of_one_message(name: str, script: list[list[str]], times: int, shown: Callable[[Any], Any]) -> None:
    async def case(env: Any) -> Any:
        await send(env, name, script)
        return shown(await deliveries(env, name, times))

    case.__name__ = name
    worker_case(case)


for message_case, facts in OF_ONE_MESSAGE.items():
    _of_one_message(message_case, *facts)


@worker_case
async def the_first_of_ack_and_retry_counts(env: Any) -> Any:
    await send(env, "ack-first", [["ack", "retry"]])
    await send(env, "retry-first", [["retry", "ack"], ["ack"]])
    return [brief(await deliveries(env, "ack-first", 1)), brief(await deliveries(env, "retry-first", 2))]


@worker_case
async def an_exception_retries_the_whole_batch(env: Any) -> Any:
    return await of_one_batch(env, "raise", [["ack"], ["ack"]], [["raise"], ["ack"]], [["nothing"]], expected=6)


@worker_case
async def messages_of_a_batch_are_settled_each_for_itself(env: Any) -> Any:
    return await of_one_batch(env, "mixed", [["ack"]], [["retry"], ["ack"]], [["nothing"]], expected=4)


@worker_case
async def a_batch_is_no_larger_than_it_may_be(env: Any) -> Any:
    await send(env, "batches", *[[["ack"]]] * 5)
    log = await deliveries(env, "batches", 5)
    return [max(entry["batch"] for entry in log) <= 3, brief(log)]


@worker_case
async def ack_all_and_retry_all_leave_what_is_settled(env: Any) -> Any:
    return await of_one_batch(env, "all", [["ack"]], [["retry all"], ["ack"]], [["nothing"], ["ack all"]], expected=5)


@worker_case
async def a_message_may_be_sent_late(env: Any) -> Any:
    started = await now_ms(env)
    await env.AI_QUEUE.send({"run": "late"}, {"delaySeconds": 1})
    await deliveries(env, "late", 1, quiet_seconds=0)
    return 900 <= await now_ms(env) - started < 6_000


@worker_case
async def a_retry_may_ask_for_a_delay(env: Any) -> Any:
    started = await now_ms(env)
    await send(env, "retry-late", [["retry later"], ["ack"]])
    log = await deliveries(env, "retry-late", 2, quiet_seconds=0)
    return [brief(log), 900 <= await now_ms(env) - started < 8_000]


@worker_case
async def bodies_come_as_they_went(env: Any) -> Any:
    body: dict[str, Any] = {
        "run": "bodies",
        "none": None,
        "nested": {"list": [1, 2.5, -0.0, 5.0, True, None, {"a": []}], "empty": {}},
        "text": "é 漢字 😀 \0 \u2028",
        "large": 2**53 - 2,
    }
    await env.AI_QUEUE.send(body)
    return (await deliveries(env, "bodies", 1))[0]["body"]


async def _send(env: Any, body: Any, options: dict[str, Any] | None = None) -> Any:
    return await _sent(lambda: env.AI_QUEUE.send({"run": "sent", "body": body}, options or {}))


async def _sent(call: Any) -> Any:
    seen = await attempt_late(call)
    return seen["raised"]["kind"] if isinstance(seen, dict) and "raised" in seen else "sent"


@worker_case
async def a_message_that_is_too_large(env: Any) -> Any:
    sent = await _sent(lambda: env.AI_QUEUE.send({"run": "size", "text": "x" * 120_000}))
    refused = await _sent(lambda: env.AI_QUEUE.send({"run": "too large", "text": "x" * 130_000}))
    return [sent, refused, len(await deliveries(env, "too large", 0)), len(await deliveries(env, "size", 1))]


@worker_case
async def a_delay_beyond_what_is_allowed(env: Any) -> Any:
    return [await _send(env, 1, {"delaySeconds": -1}), await _send(env, 1, {"delaySeconds": 86_401})]


@worker_case
async def a_delay_between_12_and_24_hours(env: Any) -> Any:
    return await _send(env, 1, {"delaySeconds": 43_201})

"""Cases about the rate limiter: what it counts, what it answers, and which requests share a limit."""

from typing import Any

from tests.conformance.cases.registry import attempt, now_ms, worker_case

LIMIT = 3
PERIOD_SECONDS = 60
_TRIES = 3


async def _in_one_window(env: Any, name: str, keys: list[str]) -> list[Any]:
    answers: list[Any] = []
    for at in range(_TRIES):
        before = await now_ms(env)
        answers = [await attempt(env.RATE_LIMITER.limit({"key": f"{name}{at}{key}"})) for key in keys]
        if before // (PERIOD_SECONDS * 1000) == await now_ms(env) // (PERIOD_SECONDS * 1000):
            break
    return answers


@worker_case
async def requests_beyond_the_limit(env: Any) -> Any:
    return await _in_one_window(env, "beyond", ["a"] * (LIMIT + 2))


@worker_case
async def each_key_has_a_limit_of_its_own(env: Any) -> Any:
    return await _in_one_window(env, "own", ["a", "b", "a", "a", "a", "b", "c", "b", "b"])


@worker_case
async def any_text_is_a_key(env: Any) -> Any:
    return await _in_one_window(env, "text", ["", " ", "é", "a/b", "x" * 300])

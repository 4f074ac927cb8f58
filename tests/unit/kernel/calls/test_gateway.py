"""Calls through Cloudflare's AI Gateway: the fields that a call sends, answers from the cache, used-up budgets."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from src.kernel.calls import wire
from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import HttpReply, HttpReplyTooLarge, ModelCall, ModelReply
from src.kernel.calls.workers_ai import WorkersAIProvider
from src.kernel.domain import errors, limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import is_gateway, load

GATEWAY = "https://gateway.ai.cloudflare.com/v1/account/mine/openai"
REST = "https://api.cloudflare.com/client/v4/accounts/account/ai/v1"
CALL = ModelCall("do", "the text", "m-1", task_key=TaskKey("acme:0190"))
LINE = ModelCall("", "", "m-1", body={"messages": []}, task_key=TaskKey("acme:0190"))
NAMED = {"tenant": "acme", "task": "0190"}


class Gateway:
    """A gateway that gives these answers, behind HTTP and behind the binding, and keeps what it was told."""

    def __init__(self, *answers: HttpReply | Exception) -> None:
        self.answers = list(answers)
        self.told: list[Mapping[str, Any]] = []

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], **_more: object) -> HttpReply:
        return self._next({name: value for name, value in headers.items() if name.startswith("cf-aig-")})

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        raise AssertionError("past the gateway")

    async def run_through(self, model: str, inputs: dict[str, object], gateway: Mapping[str, object]) -> HttpReply:
        return self._next(gateway)

    def _next(self, told: Mapping[str, Any]) -> HttpReply:
        self.told.append(told)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def infer(self, provider: str, call: ModelCall = CALL, base_url: str = GATEWAY) -> ModelReply:
        if provider == "openai":
            return asyncio.run(OpenAIProvider(self, base_url=base_url, api_key=None, model=None).infer(call))
        made = WorkersAIProvider(self, model=None, timeout_seconds=5, gateway="mine")
        return asyncio.run(made.infer(call))

    def failure(self, provider: str, call: ModelCall = CALL) -> errors.ModelError:
        with pytest.raises(errors.ModelError) as caught:
            self.infer(provider, call)
        return caught.value


def answer(content: object = "fine", status: str = "MISS") -> HttpReply:
    document = {"choices": [{"message": {"content": content}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    return HttpReply(200, {"cf-aig-cache-status": status}, json.dumps(document).encode())


def refused(status: int, code: int, said: str = "no", **headers: str) -> HttpReply:
    """Return an error as users of the gateway have seen them."""
    body = {"success": False, "result": [], "error": [{"code": code, "message": said}], "internalCode": code}
    return HttpReply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


both = pytest.mark.parametrize("provider", ["openai", "workers-ai"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        *((GATEWAY, True), (GATEWAY.upper(), True), (REST, True), ("https://gateway.ai.cloudflare.com", True)),
        *(("https://gateway.ai.cloudflare.com.evil.example/v1", False), ("http://gateway.ai.cloudflare.com/v1", False)),
        *(("https://api.cloudflare.com/client/v4/accounts", False), ("https://ai.example.com/compat", False)),
    ],
)
def test_a_gateway_is_known_by_its_address(url: str, expected: bool) -> None:
    assert is_gateway(url) is expected


def test_a_server_at_a_gateway_is_told_the_tenant_the_task_and_one_attempt() -> None:
    gateway = Gateway(answer(), answer())
    assert gateway.infer("openai") == gateway.infer("openai", base_url=REST) == ModelReply("fine", 7, 2)
    for told in gateway.told:
        assert json.loads(told["cf-aig-metadata"]) == NAMED
        assert told.keys() == {"cf-aig-metadata", "cf-aig-max-attempts"}
        assert told["cf-aig-max-attempts"] == "1"


def test_another_server_is_told_nothing() -> None:
    gateway = Gateway(answer())
    gateway.infer("openai", base_url="https://ai.example.com/v1")
    assert gateway.told == [{}]


@pytest.mark.parametrize("call", [CALL, LINE])
def test_workers_ai_is_told_the_tenant_the_task_and_one_attempt(call: ModelCall) -> None:
    gateway = Gateway(answer())
    assert gateway.infer("workers-ai", call).input_tokens == 7
    assert gateway.told == [{"id": "mine", "metadata": NAMED, "retries": {"maxAttempts": 1}, "skipCache": False}]


@both
@pytest.mark.parametrize("call", [CALL, LINE])
def test_an_answer_from_the_cache_says_so(provider: str, call: ModelCall) -> None:
    """It says so on its way back from a lane, too, and code of the release before reads it without that."""
    for status, expected in (("HIT", True), ("hit", True), ("MISS", False)):
        reply = Gateway(answer(status=status)).infer(provider, call)
        assert (reply.from_cache, reply.input_tokens, reply.output_tokens) == (expected, 7, 2)
        assert wire.read_outcome(wire.write_outcome(reply)) == reply


@both
@pytest.mark.parametrize("unusable", [answer("", "HIT"), HttpReply(200, {"cf-aig-cache-status": "HIT"}, b"<html>")])
def test_an_unusable_answer_from_the_cache_is_not_repeated(provider: str, unusable: HttpReply) -> None:
    gateway = Gateway(unusable, answer())
    reply = gateway.infer(provider)
    assert (reply.output, reply.from_cache) == ("fine", False)
    skips = [str(told.get("cf-aig-skip-cache", told.get("skipCache"))).lower() for told in gateway.told]
    assert skips == (["none", "true"] if provider == "openai" else ["false", "true"])


@both
def test_an_unusable_answer_of_the_model_is_one_call(provider: str) -> None:
    gateway = Gateway(answer(""))
    error = gateway.failure(provider)
    assert (type(error), error.tokens, len(gateway.told)) == (errors.ModelReplyMalformed, (7, 2, 0), 1)


@both
@pytest.mark.parametrize(("status", "code"), [(429, 2041), (429, 2045), (402, 2021)])
@pytest.mark.parametrize("call", [CALL, LINE])
def test_a_used_up_budget_is_a_used_up_quota(provider: str, status: int, code: int, call: ModelCall) -> None:
    """Without a reset the task fails as with OpenAI's `insufficient_quota`."""
    error = Gateway(refused(status, code, "Spend limit exceeded")).failure(provider, call)
    assert type(error) is errors.ModelQuotaExhausted
    assert "Spend limit exceeded" in str(error)
    assert error.code == "model_quota_exhausted"


@both
@pytest.mark.parametrize(("asked", "seconds"), [("86400", 86_400.0), ("99999999", limits.RESET_SECONDS_MOST)])
def test_a_budget_that_names_its_reset_waits_for_it(provider: str, asked: str, seconds: float) -> None:
    error = Gateway(refused(429, 2045, retry_after=asked)).failure(provider)
    assert (type(error), error.delay_seconds) == (errors.ModelDayUsedUp, seconds)
    crossed = wire.read_outcome(wire.write_outcome(error))
    assert (type(crossed), getattr(crossed, "delay_seconds", None)) == (errors.ModelDayUsedUp, seconds)


@both
def test_the_rate_limit_of_a_gateway_is_no_budget(provider: str) -> None:
    assert type(Gateway(refused(429, 2003, "Rate limited")).failure(provider)) is errors.ModelRateLimited


BODIES: list[tuple[bytes, type[errors.ModelError]]] = [
    (refused(503, 3040).body, errors.ModelUnavailable),
    (refused(429, 3036).body, errors.ModelDayUsedUp),
    (b'{"errors": [{"code": 5007, "message": "No such model"}]}', errors.ModelRefused),
    (b'{"internalCode": 3006, "description": "too large"}', errors.ModelRefused),
    (b'{"error": "away"}', errors.ModelUnavailable),
    (b'{"error": []}', errors.ModelUnavailable),
    (b"<html>502</html>", errors.ModelUnavailable),
]


@pytest.mark.parametrize(("body", "kind"), BODIES)
def test_errors_of_workers_ai_keep_their_meaning(body: bytes, kind: type[errors.ModelError]) -> None:
    error = Gateway(HttpReply(502, {}, body)).failure("workers-ai")
    assert type(error) is kind
    assert str(error).startswith("Workers AI: ")


def test_a_reply_that_is_too_large_is_booked_at_its_most() -> None:
    error = Gateway(HttpReplyTooLarge("x")).failure("workers-ai")
    assert (type(error), error.tokens) == (errors.ModelReplyMalformed, (0, 0, 0))


@pytest.mark.parametrize("name", ["my gateway", "a/b", "x" * 65, "ü"])
def test_the_name_of_a_gateway_is_checked(name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"^AI_GATEWAY must be the name of an AI Gateway"):
        load({"AI_GATEWAY": name}.get)
    assert load({"AI_GATEWAY": "my-gateway_2"}.get).gateway == "my-gateway_2"

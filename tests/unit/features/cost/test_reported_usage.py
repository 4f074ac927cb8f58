"""What a call costs by the usage that providers report, in documented answers. The sums were made by hand."""

from typing import Any

import pytest

from src.features.cost.gate import CallCosts
from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.prices import parse_prices, published
from src.kernel.store.claims import CallKey, Money
from tests.unit.kernel.calls.test_openai import completion, infer, reply
from tests.unit.kernel.calls.test_wire import workers_ai

KEY = CallKey(0, 0)
# Millionths of a dollar for a token: what `PRICES` has as dollars for a million.
PRICES = {
    **published("openai", "https://api.openai.com/v1"),  # gpt-5.4-mini: 0.75, cached 0.075, output 4.50
    **published("workers-ai", None),  # qwen3-30b: 0.051, cached or not, output 0.34
    **parse_prices('{"local": {"input": "0.2", "cachedInput": "0.02", "output": "0.8", "maxOutput": 1000}}'),
}
OPENAI, WORKERS_AI, LOCAL = "gpt-5.4-mini", "@cf/qwen/qwen3-30b-a3b-fp8", "local"
SAID = completion("fine")

# By name: the model, the provider's answer, and the cost in billionths of a dollar.
ANSWERS: dict[str, tuple[str, dict[str, Any], int]] = {
    # https://developers.openai.com/api/docs/guides/prompt-caching: 86 × 0.75 + 1,920 × 0.075 + 300 × 4.50
    "openai, cached": (
        OPENAI,
        SAID
        | {
            "usage": {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920},
            }
        },
        1_558_500,
    ),
    # https://developers.openai.com/api/docs/guides/reasoning, with the names of a chat completion. Reasoning is billed
    # as output: 75 × 0.75 + 1,186 × 4.50
    "openai, reasoning": (
        OPENAI,
        SAID
        | {
            "usage": {
                "prompt_tokens": 75,
                "completion_tokens": 1186,
                "total_tokens": 1261,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 1024, "accepted_prediction_tokens": 0},
            }
        },
        5_393_250,
    ),
    # https://github.com/BerriAI/litellm/issues/22984, an answer of vLLM with --enable-prompt-tokens-details:
    # 447 × 0.2 + 149,936 × 0.02 + 304 × 0.8
    "vllm, cached and reasoning": (
        LOCAL,
        SAID
        | {
            "usage": {
                "total_tokens": 150_687,
                "prompt_tokens": 150_383,
                "completion_tokens": 304,
                "prompt_tokens_details": {"text_tokens": None, "audio_tokens": None, "cached_tokens": 149_936},
                "completion_tokens_details": {"text_tokens": None, "reasoning_tokens": 15},
            }
        },
        3_331_320,
    ),
    # vLLM without that flag has null for the details. 31 × 0.2 + 9 × 0.8
    "vllm, not told": (
        LOCAL,
        SAID
        | {
            "usage": {"prompt_tokens": 31, "total_tokens": 40, "completion_tokens": 9, "prompt_tokens_details": None},
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        },
        13_400,
    ),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md, "Timings and context usage":
    # 44 × 0.2 + 48 × 0.8
    "llama.cpp": (
        LOCAL,
        SAID
        | {
            "usage": {
                "completion_tokens": 48,
                "prompt_tokens": 44,
                "total_tokens": 92,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
            "timings": {"cache_n": 236, "prompt_n": 1, "predicted_n": 35},
        },
        47_200,
    ),
    # The same page's timings, with the usage of a server from before it had details: 1 × 0.2 + 236 × 0.02 + 35 × 0.8
    "llama.cpp, timings alone": (
        LOCAL,
        SAID
        | {
            "usage": {"completion_tokens": 35, "prompt_tokens": 237, "total_tokens": 272},
            "timings": {"cache_n": 236, "prompt_n": 1, "prompt_ms": 30.958, "predicted_n": 35, "predicted_ms": 661.064},
        },
        32_920,
    ),
    # https://github.com/cloudflare/ai/issues/509, cached at the same price: 1,695 × 0.051 + 76 × 0.34
    "workers-ai, cached": (
        WORKERS_AI,
        SAID
        | {
            "usage": {
                "prompt_tokens": 1695,
                "completion_tokens": 76,
                "total_tokens": 1771,
                "prompt_tokens_details": {"cached_tokens": 1694},
            }
        },
        112_285,
    ),
    # The same page's answer in the binding's older shape: 6,377 × 0.051 + 349 × 0.34
    "workers-ai, response": (
        WORKERS_AI,
        {
            "response": "fine",
            "usage": {
                "prompt_tokens": 6377,
                "completion_tokens": 349,
                "total_tokens": 6726,
                "prompt_tokens_details": {"cached_tokens": 2861},
            },
        },
        443_887,
    ),
}


def cost(model: str, answer: dict[str, Any]) -> int:
    """Return what the bill of a task has booked after one call with this answer."""
    call = ModelCall("s", "x", model)
    made: ModelReply = workers_ai(answer, call) if model == WORKERS_AI else infer(reply(200, answer), call)
    bill = CallCosts(Money(), PRICES)
    assert bill.within([KEY], (), lambda key: call) == [KEY]
    bill.ended(KEY, made)
    booked = bill.totals([]).booked
    assert booked is not None
    return booked


@pytest.mark.parametrize(("model", "answer", "amount"), ANSWERS.values(), ids=ANSWERS)
def test_a_call_costs_what_its_provider_counts(model: str, answer: dict[str, Any], amount: int) -> None:
    """Cached input has its own price, and reasoning is a part of the output."""
    assert cost(model, answer) == amount


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"prompt_tokens": None, "completion_tokens": None}}])
@pytest.mark.parametrize("model", [OPENAI, WORKERS_AI, LOCAL])
def test_a_call_without_counts_costs_its_most(model: str, usage: dict[str, Any]) -> None:
    """Older models of Workers AI, and some gateways, answer without usage: a byte a token, and all output allowed."""
    call = ModelCall("s", "x", model)
    said = {"response": "fine"} if model == WORKERS_AI else SAID
    without = {name: value for name, value in said.items() if name != "usage"}
    assert cost(model, without | usage) == PRICES[model].most(sent_bytes(call), None)

"""The provider for Workers AI, against a scripted binding."""

import asyncio
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.calls.workers_ai import DEFAULT_MODEL, OUTPUT_TOKENS, WorkersAIProvider
from src.kernel.domain import errors
from tests.support.scripted_model import NoGateway

CALL = ModelCall(system="Summarise the part.", user="Call me Ishmael. Some years ago.", model="@cf/some/model")


class ScriptedAi(NoGateway):
    """A binding that gives the same result or error to every call, and keeps the calls. `hangs` never answers."""

    def __init__(self, answer: object, *, hangs: bool = False) -> None:
        self.answer = answer
        self.hangs = hangs
        self.calls: list[tuple[str, dict[str, object]]] = []

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        self.calls.append((model, inputs))
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def infer(answer: object, call: ModelCall = CALL) -> ModelReply:
    return asyncio.run(WorkersAIProvider(ScriptedAi(answer), model=None, timeout_seconds=5).infer(call))


def failure(answer: object, call: ModelCall = CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        infer(answer, call)
    return caught.value


def test_a_call_runs_the_model_once_with_the_text_verbatim() -> None:
    """It sets a token limit, as the platform's default cuts answers at 256 tokens."""
    ai = ScriptedAi({"response": "fine", "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
    made = WorkersAIProvider(ai, model=None, timeout_seconds=5)
    assert asyncio.run(made.infer(CALL)) == ModelReply("fine", 7, 2)
    messages = [{"role": "system", "content": CALL.system}, {"role": "user", "content": CALL.user}]
    assert ai.calls == [("@cf/some/model", {"messages": messages, "max_tokens": OUTPUT_TOKENS})]


def test_what_a_call_asks_is_sent_along() -> None:
    ai = ScriptedAi({"response": "fine"})
    call = ModelCall("a", "b", "m", max_output_tokens=9, temperature=1.5, options={"seed": 3})
    asyncio.run(WorkersAIProvider(ai, model=None, timeout_seconds=5).infer(call))
    asked = {name: value for name, value in ai.calls[0][1].items() if name != "messages"}
    assert asked == {"max_tokens": 9, "temperature": 1.5, "seed": 3}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"response": "fine", "usage": {"completion_tokens": OUTPUT_TOKENS - 1}}, None),
        ({"response": "fine", "usage": {"completion_tokens": OUTPUT_TOKENS}}, "length"),
        ({"response": "fine"}, None),
        ({"response": "fine", "finish_reason": "stop", "usage": {"completion_tokens": OUTPUT_TOKENS}}, "stop"),
        ({"choices": [{"message": {"content": "fine"}, "finish_reason": "length"}]}, "length"),
        ({"choices": [{"message": {"content": "fine"}, "finish_reason": "content_filter"}]}, "content_filter"),
        ({"choices": [{"message": {"content": "fine"}}]}, None),
    ],
)
def test_why_an_output_ends(result: object, reason: str | None) -> None:
    assert infer(result).finish_reason == reason


NO_TEXT = (None, "text", [], {}, {"choices": []}, b"x", object(), *({"response": one} for one in (None, "", {"a": 1})))


@pytest.mark.parametrize("result", NO_TEXT)
def test_a_result_without_text_is_malformed(result: object) -> None:
    """A result of Workers AI without text, or of an unknown shape, is malformed, and the call is tried again."""
    error = failure(result)
    assert type(error) is errors.ModelReplyMalformed
    assert " (from Workers AI): " in str(error)


CODES: list[tuple[int, type[errors.ModelError]]] = [
    (3040, errors.ModelUnavailable),
    (3008, errors.ModelUnavailable),
    (3021, errors.ModelRateLimited),
    (3007, errors.ModelUnavailable),
    (3036, errors.ModelDayUsedUp),
    (4006, errors.ModelDayUsedUp),
    (9999, errors.ModelUnavailable),
    *((code, errors.ModelUnavailable) for code in (1031, 3043, 3046)),
    *((code, errors.ModelRefused) for code in (3003, 3006, 3023, 3039, 3041, 3042, 5004, 5005, 5007, 5016, 5018, 5019)),
    (5035, errors.ModelRefused),
    *((code, errors.ModelRefused) for code in (3010, 5006, 5021, 5025, 5999, 7000, 7003, 8001)),
    (5024, errors.ModelReplyMalformed),
]


@pytest.mark.parametrize("form", ["{}: no luck", "InferenceUpstreamError: {}: no luck", "Error: AiError: {}: no luck"])
@pytest.mark.parametrize(("code", "kind"), CODES)
def test_codes_have_their_error(code: int, kind: type[errors.ModelError], form: str) -> None:
    error = failure(RuntimeError(form.format(code)))
    assert type(error) is kind
    assert f"{code}: no luck" in str(error)
    assert getattr(error, "delay_seconds", None) is None


@pytest.mark.parametrize("said", ["5035: This model requires the Workers Paid plan", "5007: No such model"])
def test_a_model_that_the_account_may_not_use_ends_the_task(said: str) -> None:
    error = failure(RuntimeError(said))
    assert (type(error), getattr(error, "of_call", None)) == (errors.ModelRefused, False)
    assert said in str(error)


def test_an_unknown_default_model_is_the_deployment_s_fault() -> None:
    error = failure(RuntimeError("5007: No such model"), CALL._replace(model=DEFAULT_MODEL))
    assert type(error) is errors.ModelMisconfigured


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Network connection lost.", errors.ModelConnectionLost),
        ("", errors.ModelUnavailable),
        ("something in 3036 words", errors.ModelUnavailable),
        ("30361: no such code", errors.ModelUnavailable),
    ],
)
def test_errors_without_a_code_are_transient(said: str, kind: type[errors.ModelError]) -> None:
    assert type(failure(RuntimeError(said))) is kind


WINDOW = "The estimated number of input tokens (155740) exceeded this model context window limit (128000)."


@pytest.mark.parametrize(
    "said",
    [
        f"5021: {WINDOW}",
        f"3010: AiError: {WINDOW}",
        f"AiError: {WINDOW}",
        "AiError: This model's maximum context length is 131072 tokens. However, you requested 16000 output tokens.",
        "3999: Invalid input for this model",
        "InferenceUpstreamError: 3999: The parameter is not supported",
        "1999: Forbidden",
    ],
)
def test_a_request_that_can_never_pass_is_refused_at_once(said: str) -> None:
    assert type(failure(RuntimeError(said))) is errors.ModelRefused


@pytest.mark.parametrize(
    "said",
    ["3999: something broke", "3007: invalid", "1031: upstream", "Invalid or not, there is no code", "3046: late"],
)
def test_what_may_pass_is_tried_again(said: str) -> None:
    """A transient code of Workers AI counts more than a word such as "invalid", so the call is tried again."""
    assert type(failure(RuntimeError(said))) is errors.ModelUnavailable


@pytest.mark.parametrize("shape", ["choices", "response"])
def test_thoughts_in_the_output_are_taken_out(shape: str) -> None:
    def result(text: str) -> object:
        return {"response": text} if shape == "response" else {"choices": [{"message": {"content": text}}]}

    assert infer(result("<think>\nHm.\n</think>\n\nfine")).output == "fine"
    assert infer(result("<think></think>fine <think>")).output == "fine <think>"
    assert infer(result("a <think>b</think>")).output == "a <think>b</think>"
    assert type(failure(result("<think>Hm.</think>\n"))) is errors.ModelReplyMalformed


def test_the_time_limit_ends_a_call() -> None:
    made = WorkersAIProvider(ScriptedAi(None, hangs=True), model=None, timeout_seconds=0.01)
    with pytest.raises(errors.ModelTimeout):
        asyncio.run(made.infer(CALL))


def test_cancellation_and_interpreter_errors_pass_through() -> None:
    class Exceeded(BaseException):
        pass

    for raised in (asyncio.CancelledError(), Exceeded()):
        with pytest.raises(type(raised)):
            infer(raised)


def test_without_a_binding_calls_are_refused_with_what_to_do() -> None:
    made = WorkersAIProvider(None, model=None, timeout_seconds=1)
    with pytest.raises(errors.ModelRefused, match=r"wrangler\.toml"):
        asyncio.run(made.infer(CALL))
    health = asyncio.run(made.probe())
    assert health.status == "unavailable"
    assert "wrangler.toml" in health.detail


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["response", "choices", "message", "content", "usage", "prompt_tokens", "text", "type"]
                ),
                inner,
            )
        ),
    )
    | st.text().map(RuntimeError)
)
def test_any_result_gives_output_or_a_model_error(result: object) -> None:
    try:
        got = infer(result)
        shown, kept = "", got.output
    except errors.ModelError as error:
        shown, kept = str(error), ""
    assert len(shown) < 300
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert kept.encode() is not None
    assert "\x00" not in kept


def test_a_probe_makes_no_call() -> None:
    """A probe of Workers AI only checks that the binding exists, since every call costs money."""
    ai = ScriptedAi({"response": "fine"})
    assert asyncio.run(WorkersAIProvider(ai, model=None, timeout_seconds=1).probe()).status == "healthy"
    assert ai.calls == []


def test_the_cause_holds_no_text() -> None:
    message = str(failure(RuntimeError(f"5004: Invalid data: {CALL.user}\n{CALL.system}")))
    assert "Ishmael" not in message
    assert "Summarise" not in message
    assert message.startswith("Workers AI: 5004: Invalid data: …")


def test_the_default_model_can_be_overridden() -> None:
    assert WorkersAIProvider(None, model="@cf/x", timeout_seconds=1).default_model == "@cf/x"
    assert WorkersAIProvider(None, model=None, timeout_seconds=1).default_model == DEFAULT_MODEL


def test_an_openai_shaped_result_is_read() -> None:
    choices = [{"message": {"content": "fine"}}]
    assert infer({"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}) == ModelReply(
        "fine", 1, 2
    )

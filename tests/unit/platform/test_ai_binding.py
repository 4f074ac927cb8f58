"""The binding of Workers AI: each call has an AbortSignal, and a call that is given up is aborted and ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall
from src.kernel.calls.workers_ai import WorkersAIProvider
from src.kernel.domain import errors
from src.platform import ai
from src.platform.ai import BoundAi
from src.platform.bindings import bindings
from tests.support.javascript import stand_in

CALL = ModelCall(system="a", user="b", model="m")


class Signal:
    """A stand-in for AbortSignal, to which the binding listens as workerd's does."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()


class Ai:
    """A binding that answers with `answer`, or when aborted, unless `deaf` as old workerd was."""

    def __init__(self, answer: object = None, *, deaf: bool = False) -> None:
        self.answer = answer
        self.deaf = deaf
        self.signals: list[Signal] = []
        self.queued = 0
        self.ended = 0

    async def run(self, model: str, inputs: dict[str, object], options: dict[str, Any]) -> object:
        self.signals.append(options["signal"])
        self.queued += not options.get("rejectIfBusy")
        try:
            if self.answer is None:
                await (asyncio.Event() if self.deaf else options["signal"].aborted).wait()
                raise RuntimeError("AbortError: The operation was aborted")
            return self.answer
        finally:
            self.ended += 1


@pytest.fixture(autouse=True)
def _javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    def controller() -> Any:
        signal = Signal()
        return SimpleNamespace(signal=signal, abort=signal.aborted.set)

    stand_in(monkeypatch, {"AbortController": SimpleNamespace(new=controller)})


def provider(binding: Ai, seconds: float = 5) -> WorkersAIProvider:
    return WorkersAIProvider(BoundAi(binding), model=None, timeout_seconds=seconds)


def test_each_call_has_a_signal_of_its_own() -> None:
    binding = Ai({"response": "fine"})

    async def twice() -> None:
        for _ in range(2):
            assert (await provider(binding).infer(CALL)).output == "fine"

    asyncio.run(twice())
    first, second = binding.signals
    assert first is not second
    assert not first.aborted.is_set()


def test_no_call_waits_for_capacity() -> None:
    binding = Ai({"response": "fine"})
    asyncio.run(provider(binding).infer(CALL))
    assert (len(binding.signals), binding.queued) == (1, 0)


def test_a_call_whose_time_is_up_is_aborted() -> None:
    binding = Ai()
    with pytest.raises(errors.ModelTimeout):
        asyncio.run(provider(binding, 0.01).infer(CALL))
    assert (binding.signals[0].aborted.is_set(), binding.ended) == (True, 1)


def test_a_call_that_is_cancelled_is_aborted() -> None:
    """A cancelled call has ended before its caller goes on, and leaves no error that nobody retrieves."""
    binding, left = Ai(), []

    async def give_up() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
        call = asyncio.ensure_future(provider(binding).infer(CALL))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert binding.ended == 1

    asyncio.run(give_up())
    assert left == []


def test_a_runtime_that_overlooks_signals_is_waited_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ai, "_ABORT_SECONDS", 0.01)
    with pytest.raises(errors.ModelTimeout):
        asyncio.run(asyncio.wait_for(provider(Ai(deaf=True), 0.01).infer(CALL), 60))


def test_errors_of_the_platform_pass_through() -> None:
    class Refusing(Ai):
        async def run(self, model: str, inputs: dict[str, object], options: dict[str, Any]) -> object:
            raise RuntimeError("5007: No such model")

    with pytest.raises(errors.ModelRefused, match="5007"):
        asyncio.run(provider(Refusing()).infer(CALL))


def test_a_deployment_without_the_binding_has_none() -> None:
    without: Any = SimpleNamespace(DB=object())
    assert bindings(without).ai is None
    assert isinstance(bindings(SimpleNamespace(DB=object(), AI=Ai())).ai, BoundAi)  # type: ignore[arg-type]

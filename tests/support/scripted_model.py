"""A model whose answers a test decides, for tests in which a real worker runs tasks without a network."""

import json
from collections.abc import Mapping, Sequence

from src.kernel.calls.protocol import Health, HttpReply, ModelCall, ModelReply

type Said = str | ModelReply | Exception


class ScriptedModel:
    """A provider that `says` answers by pieces of text, the last one again; else it echoes the text."""

    name = "demo"
    default_model = "scripted-1"

    def __init__(self, **says: Sequence[Said]) -> None:
        self.says = says
        self.calls: list[ModelCall] = []
        self._used: dict[str, int] = {}

    async def infer(self, call: ModelCall) -> ModelReply:
        self.calls.append(call)
        for piece, script in self.says.items():
            if piece in call.user:
                used = self._used.get(piece, 0)
                self._used[piece] = used + 1
                said = script[min(used, len(script) - 1)]
                if isinstance(said, Exception):
                    raise said
                return said if isinstance(said, ModelReply) else ModelReply(said, 10, 1, "stop")
        text = call.user.strip()
        return ModelReply(text if call.form is None else json.dumps({"said": [text]}), 10, 1, "stop")

    async def probe(self) -> Health:
        return Health("healthy", "answers as a test says")


class NoGateway:
    """A binding of Workers AI whose calls go through no gateway."""

    async def run_through(self, model: str, inputs: dict[str, object], gateway: Mapping[str, object]) -> HttpReply:
        raise AssertionError("through a gateway")

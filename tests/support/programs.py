"""Runs programs to their end, for tests of what they print."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ran(command: Sequence[str | Path], *, seconds: float = 240, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program, whatever its exit status. It can read nothing but `input`."""
    reads = options if options.get("input") is not None else {**options, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **reads)


def output_of(command: Sequence[str | Path], **options: Any) -> str:
    """Return the standard output of a program that must end with status 0."""
    done = ran(command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

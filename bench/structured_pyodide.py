"""Measures structured output in Pyodide: CPython in WebAssembly, as in the Workers' runtime.

Run as a module in Pyodide it prints the figures, a line of JSON each.
"""

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).resolve().parents[1]
# The bounds, in ms, of checking an output of 100,000 characters and of parsing a hostile schema.
CHECK_MS_MOST, HOSTILE_MS_MOST = 150, 14
# Pyodide frees a deeply nested value by recursion. Some schemas of the corpus are nested 5,000 deep.
STACK_KB = 6_000


def measure() -> list[Figure]:
    """Measure in Pyodide in Node.js what `bench.structured` measures."""
    from local.node import find_node  # noqa: PLC0415 - Pyodide runs no processes

    script = str(ROOT / "bench" / "pyodide.mjs")
    command = [str(find_node()), f"--stack-size={STACK_KB}", script, str(ROOT), "bench.structured_pyodide"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = [Figure(**json.loads(line)) for line in done.stdout.splitlines()]
    return [replace(figure, name=f"in Pyodide: {figure.name}") for figure in figures]


if __name__ == "__main__":
    from bench import structured

    for one in structured.measure(CHECK_MS_MOST, HOSTILE_MS_MOST):
        print(json.dumps(asdict(one)))

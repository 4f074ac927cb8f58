"""What context costs with a prompt cache: the tokens that llama.cpp evaluates for a task's first three chunks.

The messages are those of a task over `examples/english.txt`. The model of `make model` answers them one after the
other, with one slot, so each call finds the prompt of the call before in the cache. The counts are llama.cpp's own.
"""

import sys
from typing import Any

import httpx

from local import model
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.ids import task_key_of
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench
from tests.support.dev_server import ROOT, eventually
from tests.support.real_model import RealModel
from tests.support.scripted_model import ScriptedModel

CHUNK_CHARS = 1_500
CHUNKS = 3
CASES: dict[str, dict[str, Any]] = {
    "the chunk alone": {},
    "`overlapChars: 300`": {"chunk": {"maxChars": CHUNK_CHARS, "overlapChars": 300}},
    "`contextChars: 300`": {"contextChars": 300},
    "`contextChars: 1000`": {"contextChars": 1_000},
}


def messages(text: str, **fields: object) -> list[ModelCall]:
    """Return the calls of the first chunks of a text."""
    provider = ScriptedModel()
    bench = ApiBench(settings=Settings(provider="demo", chunk_chars=CHUNK_CHARS), provider=provider)
    name = bench.submit(text, **fields)["id"]
    bench.run(bench.worker.run(task_key_of("local", name), Host(Route.QUEUE, 600.0)))
    bench.close()
    return provider.calls[:CHUNKS]


def evaluated(base_url: str, call: ModelCall) -> tuple[int, int]:
    """Let the model read a call. Returns the tokens of its prompt, and how many of them were not in the cache."""
    asked = [{"role": "system", "content": call.system}, {"role": "user", "content": call.user}]
    answer = httpx.post(f"{base_url}/chat/completions", json={"messages": asked, "max_tokens": 1}, timeout=300)
    counts = answer.raise_for_status().json()
    return counts["usage"]["prompt_tokens"], counts["timings"]["prompt_n"]


def main() -> int:
    """Measure, and print a row of Markdown for each case. Returns the exit status."""
    if (why_not := model.missing()) is not None:
        sys.exit(f"error: {why_not}")
    text = (ROOT / "examples" / "english.txt").read_text("utf-8")[: 4 * CHUNK_CHARS]
    print(f"| goes along | {' | '.join(f'chunk {at}' for at in range(1, CHUNKS + 1))} |\n|{' --- |' * (CHUNKS + 1)}")
    for name, fields in CASES.items():
        real = RealModel(model.CONTEXT_TOKENS, slots=1)
        try:
            real.start()
            eventually(real.is_loaded, 120)
            counts = [evaluated(real.base_url, call) for call in messages(text, **fields)]
        finally:
            real.stop()
        print(f"| {name} | {' | '.join(f'{new} of {all_}' for all_, new in counts)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

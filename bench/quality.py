"""`make bench ARGS=quality`: how much of what stands in a long text a task finds, by the settings of its chunks.

Facts are planted in public-domain prose (`bench.planted`), and each text is one task on the local runtime. The model is
that of the server which AI_BASE_URL names, with AI_MODEL and AI_API_KEY, else that of `make model`. A file keeps each
finished part, so a measurement that was stopped goes on. With `--erring` a model that errs by seed takes their place
(`bench.erring`), which takes a minute or two.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import erring, planted
from bench.planted import Planted, Score, Share
from local import model
from local.model_server import NAME, TIMEOUT_SECONDS
from tests.support.client import Client, openai
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.real_model import RealModel

WHOLE: Final = "whole"
# Characters of a chunk, of its context, and of its overlap. Headings do not go along: the prose has none.
SETTINGS: Final = ("750:0:0", "750:300:0", "750:0:300", "1500:0:0", "1500:300:0", "1500:0:300")
HEAD: Final = (
    *("text", "chunks", "recall", "amounts found", "precision", "repeats", "contradictions", "quotes in the text"),
    *("quotes of the fact", "coverage", "quotes returned", "not found"),
)
_SECONDS: Final = 6 * 3_600  # for one task
_OTHER_SEEDS: Final = 1_000  # A repetition has the seeds from here on.

type Json = dict[str, Any]
type Ask = Callable[[Planted, Json], Json]  # Submits the body for a text, and returns the task that has ended.


class Part(NamedTuple):
    """One task that is measured."""

    language: str
    chars: int
    facts: int
    seed: int
    setting: str  # see SETTINGS

    def body(self, text: str) -> Json:
        """Return the body of its submission."""
        given = f"{len(text)}:0:0" if self.setting == WHOLE else self.setting
        chars, context, overlap = map(int, given.split(":"))
        body: Json = {
            "input": text,
            "instructions": planted.INSTRUCTIONS,
            "outputSchema": planted.schema(chars),
            "reduce": "none",
            "chunk": {"maxChars": chars, "overlapChars": overlap},
            "onChunkFailure": "gap",
            "maxGapShare": 1,
            "temperature": 0,
        }
        return body | ({"contextChars": context, "headings": False} if context else {})


class Kept:
    """The file of finished parts, a line for each. Parts of another model stay there, and are passed over."""

    def __init__(self, path: Path, of: str) -> None:
        self._path = path
        self._of = of

    def find(self, part: Part) -> Score | None:
        """Return the score of a part that was measured before."""
        lines = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
        found = [line for line in map(json.loads, lines) if (line["of"], line["part"]) == (self._of, [*part])]
        return planted.read(json.dumps(found[-1]["score"])) if found else None

    def add(self, part: Part, score: Score) -> None:
        """Keep a finished part."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"of": self._of, "part": part, "score": score.record()}) + "\n")


def measure(ask: Ask, part: Part, kept: Kept) -> Score:
    """Return the score of a part, which is measured unless it was before."""
    if (known := kept.find(part)) is not None:
        return known
    made = planted.plant(part.language, part.chars, part.facts, part.seed)
    score = planted.score(made, ask(made, part.body(made.text)))
    kept.add(part, score)
    return score


def row(language: str, setting: str, scores: Sequence[Score]) -> str:
    """Return the row of the texts of one language with one setting, as Markdown."""
    figures = planted.shares(scores)
    coverage = sum(one.coverage for one in scores) / len(scores)
    cells = [language, f"`{setting}`", *map(_shown, figures.values()), f"{coverage:.2f}"]
    returned, missed = sum(len(one.verbatim) for one in scores), sum(one.not_found for one in scores)
    return f"| {' | '.join([*cells, str(returned), str(missed)])} |"


def within(first: Sequence[Score], again: Sequence[Score]) -> list[bool]:
    """Return for each figure of a repetition whether it lies within the interval of the first measurement."""
    pairs = zip(planted.shares(first).values(), planted.shares(again).values(), strict=True)
    return [one[1] <= other[0] <= one[2] for one, other in pairs if one is not None and other is not None]


def _shown(share: Share | None) -> str:
    return "-" if share is None else "{:.0%} ({:.0%}–{:.0%})".format(*share)


@contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the URL of the model's server and the model's name."""
    if (url := os.environ.get("AI_BASE_URL")) is not None:
        yield url, os.environ["AI_MODEL"]
        return
    if (why_not := model.missing()) is not None:
        sys.exit(f"error: name a server with AI_BASE_URL and AI_MODEL, or: {why_not}")
    # One call at a time: calls that share a batch may change each other's last digits, and with them the output.
    real = RealModel(options.context_tokens, slots=1)
    try:
        real.start()
        eventually(real.is_loaded, 120)
        yield real.base_url, NAME
    finally:
        real.stop()


@contextmanager
def _asking(options: argparse.Namespace) -> Iterator[tuple[Ask, str]]:
    """Yield what asks onceover on the local runtime, and the model's name."""
    if options.erring:
        with erring.asking(erring.Erring()) as ask_erring:
            yield ask_erring, erring.NAME
        return
    with _server(options) as (url, name), tempfile.TemporaryDirectory() as folder:
        flags = openai(
            url,
            AI_MODEL=name,
            AI_CONCURRENCY=options.concurrency,
            AI_MAX_OUTPUT_TOKENS=options.tokens,
            AI_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
            LEASE_SECONDS=TIMEOUT_SECONDS + 60,
        )
        if key := os.environ.get("AI_API_KEY"):
            flags += ["--var", f"AI_API_KEY:{key}"]
        with DevServer(Path(folder), *flags) as server, Client(server.url) as client:

            def ask(_made: Planted, body: Json) -> Json:
                fields = dict(body)
                return client.finished(client.submit(fields.pop("input"), **fields)["id"], _SECONDS)

            yield ask, name


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a row of Markdown for each language and setting. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make bench ARGS='quality …'", description=__doc__)
    parser.add_argument("--languages", nargs="+", default=planted.LANGUAGES, choices=planted.LANGUAGES)
    parser.add_argument(
        "--settings", nargs="+", default=SETTINGS, help=f"maxChars:contextChars:overlapChars or {WHOLE}"
    )
    parser.add_argument("--chars", nargs="+", type=int, default=[20_000], help="characters of texts, 20,000 to 200,000")
    parser.add_argument("--facts", type=int, default=40, help="people who lend in a text")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="texts; their figures count together")
    parser.add_argument("--tokens", type=int, default=768, help="the most tokens of an output")
    parser.add_argument("--context-tokens", type=int, default=model.CONTEXT_TOKENS, help="of the model of `make model`")
    parser.add_argument("--concurrency", type=int, default=1, help="calls at a time")
    parser.add_argument("--erring", action="store_true", help="a model that errs by seed, and no runtime")
    parser.add_argument("--repeat", action="store_true", help="measure with as many other seeds, too, and compare")
    parser.add_argument("--kept", type=Path, default=ROOT / ".build" / "quality.jsonl", help="finished parts")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that model and runtime are stopped then, too
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    agreed = list[bool]()
    with _asking(options) as (ask, name):
        # The model that errs is quick, and may have changed since.
        kept = Kept(Path(os.devnull) if options.erring else options.kept, f"{name}, {options.tokens} tokens")

        def scores(language: str, setting: str, first_seed: int) -> list[Score]:
            texts = product(options.chars, [first_seed + seed for seed in options.seeds])
            return [measure(ask, Part(language, chars, options.facts, seed, setting), kept) for chars, seed in texts]

        for language in options.languages:
            for setting in options.settings:
                first = scores(language, setting, 0)
                print(row(language, setting, first), flush=True)
                if options.repeat:
                    agreed += within(first, scores(language, setting, _OTHER_SEEDS))
    if options.repeat:
        print(f"\n{sum(agreed)} of {len(agreed)} figures of the repetition lie within the intervals above.")
    return 0

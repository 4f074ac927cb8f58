"""Ablations of structured output, quotes, context and gaps: rejections on record, places, marked context, retries."""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import CRASHES
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, Action, Reduce, TaskSpec, Workload
from src.features.context import headings
from src.features.gaps import gap_retries
from src.features.quotes import matching, rule
from src.features.quotes.rule import QuoteRule
from src.features.structured.forms import SchemaRule
from src.features.structured.joining import ListFold
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain.structure import Rejection
from src.kernel.run import failed_calls
from src.kernel.run.kinds import CallSource
from src.kernel.run.text_inputs import CallInputs
from src.kernel.store.claims import CallKey, FailedCall
from src.kernel.text.chunks import Window

_add = failed_calls.Gaps.add
_judge = SchemaRule.judge
_judge_quotes = QuoteRule.judge
_in_chunk = rule._in_chunk
_place = ListFold.place
_source = CallInputs.source


def _formed(
    *reduces: Reduce, gap_share: float | None = None, mended: bool = False, form: str = "", context: int = 0
) -> Callable[[Random], Workload]:
    """Draw tasks with a schema, which may leave gaps; `mended`: their clients retry the gaps.

    With `context` headings go along, too.
    """
    mends: tuple[tuple[float, Action], ...] = ((0.0, "mend"),) if mended else ()

    def draw(rng: Random) -> Workload:
        first = rng.choice(DEPLOYMENTS)
        specs = tuple(
            TaskSpec(
                at=rng.uniform(0, 5),
                chunks=rng.choice((3, 5, 8)),
                reduce=rng.choice(reduces),
                form=form or rng.choice(("small", "flat", "deep")),
                gap_share=gap_share,
                actions=mends,
                context=context,
                headings=context > 0,
            )
            for _ in range(3)
        )
        return Workload(tasks=specs, first=first, last=first, small_windows=context > 0)

    return draw


def _add_twice(self: Any, failed: FailedCall) -> None:
    _add(self, failed)
    _add(self, failed)


def _judge_chunks_alone(
    self: SchemaRule, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]
) -> ModelReply | Rejection:
    return _judge(self, key, reply, source) if key.level == 0 else reply


def _judge_without_places(
    self: QuoteRule, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]
) -> ModelReply | Rejection:
    judged = _judge_quotes(self, key, reply, source)
    return judged if isinstance(judged, Rejection) else judged._replace(quotes=())


def _in_chunk_alone(source: CallSource) -> rule.Finder:
    return _in_chunk(source._replace(start=0))


def _source_with_context(self: CallInputs, key: CallKey) -> CallSource:
    made_from = _source(self, key)
    before = "" if key.level else self._window_with(key).before(key.position)
    return made_from._replace(text=before + made_from.text, start=made_from.start - len(before))


def _within_window(self: Window, index: int) -> str:
    begin = self.begin_of(index)
    return self.text[max(self.start, begin - self.lead) - self._origin : begin - self._origin] if self.lead else ""


def _place_of_each(self: ListFold, number: int, tokens: tuple[str, ...]) -> tuple[str, ...]:
    return _place(self, number, tokens) or tokens


def _above_nothing(_gaps: set[int], merges: Iterable[Sequence[int]]) -> Iterable[set[int]]:
    return [set() for _ in merges]


ABLATIONS = (
    Ablation(
        "rung_on_record",
        "the rejections of a chunk are stored, so that a crash does not begin their count anew",
        (without.swapped("CLAIM_FAILURES", "held, rung, gap_chars", "held, NULL AS rung, gap_chars"),),
        {"output_unfit": 0.5} | CRASHES,
        _formed("concat", "none", "merge"),
    ),
    Ablation(
        "gap_counted_once",
        "a gap takes its characters from the coverage once",
        ((failed_calls.Gaps, "add", _add_twice),),
        {"call_refused": 0.3},
        _formed("concat", "none", gap_share=1.0),
    ),
    Ablation(
        "merges_are_checked",
        "the output of a merge must fit the schema, too",
        ((SchemaRule, "judge", _judge_chunks_alone),),
        {"output_unfit": 0.3},
        _formed("merge"),
    ),
    Ablation(
        "quotes_are_searched",
        "a quote is the source's own text, and what is not there becomes null",
        ((QuoteRule, "judge", lambda _self, _key, reply, _source: reply),),
        {},
        _formed("concat", "none", form="quoted"),
    ),
    Ablation(
        "quotes_are_folded",
        "a quote that the model wrote in disguise is found",
        ((matching.QuotedText, "_folded", ()),),
        {},
        _formed("concat", "none", form="quoted"),
    ),
    Ablation(
        "places_are_recorded",
        "the place of a quote is stored with its output",
        ((QuoteRule, "judge", _judge_without_places),),
        {},
        _formed("concat", "none", form="quoted"),
    ),
    Ablation(
        "places_are_of_the_input",
        "the place of a quote counts from the beginning of the input",
        ((rule, "_in_chunk", _in_chunk_alone),),
        {},
        _formed("concat", "none", form="quoted"),
    ),
    Ablation(
        "quotes_are_of_the_chunk",
        "a quote is searched in its chunk, and not in the context before it",
        ((CallInputs, "source", _source_with_context),),
        {},
        _formed("concat", "none", form="quoted", context=15),
    ),
    Ablation(
        "context_before_each_window",
        "the first chunk that is read has its context, too",
        ((Window, "before", _within_window),),
        {},
        _formed("concat", "none", "merge", context=15),
    ),
    Ablation(
        "headings_of_all_chunks",
        "headings stand above all chunks until others of their levels follow",
        ((headings, "below", lambda _path, chunk, _before: tuple(one for _, one in headings.headings_in(chunk))),),
        {},
        _formed("concat", "none", "merge", context=15),
    ),
    Ablation(
        "a_union_keeps_the_first_place",
        "a union shows a quote once, at its first place",
        ((ListFold, "place", _place_of_each),),
        {},
        _formed("concat", form="quoted"),
    ),
    Ablation(
        "merges_make_no_quotes",
        "a merge's quotes are those of the outputs that it reads",
        ((rule, "_in_merged", lambda _merged: lambda quote: (quote, 0, len(quote))),),
        {},
        _formed("merge", form="quoted"),
    ),
    Ablation(
        "merges_above_gaps_again",
        "a retry of gaps makes each merge above a gap again",
        ((gap_retries, "_above", _above_nothing),),
        {"call_refused": 0.2},
        _formed("merge", gap_share=1.0, mended=True),
    ),
    Ablation(
        "copied_merges",
        "a retry of gaps does not pay again for merges without a gap below",
        ((gap_retries, "_merged_copies", lambda *_: []),),
        {"call_refused": 0.2},
        _formed("merge", gap_share=1.0, mended=True),
    ),
    Ablation(
        "one_retry_of_gaps",
        "a retry of gaps that is asked for twice is one task",
        (without.swapped("TAKE_KEY", "WHERE expires_at <= ", "WHERE 1 OR expires_at <= "),),
        {"call_refused": 0.2, "client_reply_lost": 0.3},
        _formed("concat", gap_share=1.0, mended=True),
    ),
)

"""Tasks whose outputs have a form: JSON of a schema, or gaps in place of chunks that fail, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, Literal, NamedTuple

from simulator.campaign.clients.workload import Action, TaskSpec, Workload
from simulator.engine.answers import SEEN

type Rule = Literal["first", "last", "sum", "min", "max", "any", "all", "union"]

FORMED_SHARE = 0.15
REASKS = "AI_REASKS"
_FORMS: Final = ("", "small", "flat", "flat", "deep")


class SchemaForm(NamedTuple):
    """A schema, and the rules by which `concat` joins its outputs: by property of the root, and of objects in it."""

    schema: Mapping[str, Any]
    join: Mapping[str, Rule]


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


_SEEN: Final = {SEEN: {"type": "string"}}
_NAMES: Final = {"type": "array", "items": {"type": "string"}}
# Each schema begins with `seen`, in which the model says which call it has answered: merges shorten long outputs.
FORMS: Final[Mapping[str, SchemaForm]] = {
    "small": SchemaForm(_closed(_SEEN), {"/seen": "last"}),
    "flat": SchemaForm(
        _closed(
            {
                **_SEEN,
                "title": {"type": "string", "maxLength": 40},
                "names": _NAMES,
                "count": {"type": "integer"},
                "least": {"type": "number", "minimum": -10},
                "certain": {"type": "boolean"},
            }
        ),
        {"/title": "first", "/names": "union", "/count": "sum", "/least": "min", "/certain": "all", "/seen": "last"},
    ),
    "quoted": SchemaForm(
        _closed({**_SEEN, "quotes": {"type": "array", "items": {"type": ["string", "null"], "x-onceover": "quote"}}}),
        {"/quotes": "union", "/seen": "last"},
    ),
    "deep": SchemaForm(
        _closed(
            {
                **_SEEN,
                "kind": {"enum": ["letter", "speech", None]},
                "people": {"type": "array", "items": {"$ref": "#/$defs/person"}},
                "place": _closed(
                    {"named": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "most": {"type": "integer"}}
                ),
            }
        )
        | {"$defs": {"person": _closed({"name": {"type": "string"}, "born": {"type": "string", "format": "date"}})}},
        {"/kind": "last", "/place/named": "first", "/place/most": "max", "/seen": "first"},
    ),
}


def form_of(schema: Mapping[str, Any]) -> SchemaForm:
    """Return the form that has this schema."""
    return next(form for form in FORMS.values() if form.schema == schema)


def body(spec: TaskSpec, tag: str) -> dict[str, Any]:
    """Return the body of a submission to the native API, with the fields that form the task's outputs."""
    given = spec.body(tag)
    if spec.form:
        form = FORMS[spec.form]
        given["outputSchema"] = form.schema
        if spec.reduce == "concat" or (spec.response and spec.reduce == "none"):
            given["join"] = form.join
    if spec.gap_share is not None:
        given |= {"onChunkFailure": "gap", "maxGapShare": spec.gap_share}
    return given


def is_formed(workload: Workload) -> bool:
    """Whether some task has a schema, or allows gaps."""
    return any(spec.form or spec.gap_share is not None for spec in workload.tasks)


def formed(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In some runs, give tasks schemas, let them leave gaps, and let clients retry the gaps.

    Where polls alone bring tasks to their end, each isolate must be able to work on them: none is of an older release.
    Tasks with quotes are in runs without an older release, which refuses them.
    """
    if not always and rng.random() >= FORMED_SHARE:
        return workload
    forms = _FORMS if workload.older_isolates else (*_FORMS, "quoted", "quoted")
    tasks = tuple(_formed(spec, forms, rng) if rng.random() < 0.85 else spec for spec in workload.tasks)
    polled = any(spec.polled is not None for spec in tasks)
    return replace(
        workload,
        tasks=tasks,
        older_isolates=0.0 if polled else workload.older_isolates,
        variables=workload.variables | {REASKS: str(rng.choice((0, 1, 1, 1, 2, 3)))},
    )


def _formed(spec: TaskSpec, forms: Sequence[str], rng: Random) -> TaskSpec:
    form = rng.choice(forms)
    leaves_gaps = rng.random() < (0.7 if form else 1.0)
    mends: list[tuple[float, Action]] = [(rng.uniform(0, 30), "mend")] if leaves_gaps and rng.random() < 0.9 else []
    return replace(
        spec,
        form=form,
        gap_share=rng.choice((0.0, 0.3, 0.5, 0.5, 1.0, 1.0)) if leaves_gaps else None,
        cut_off=rng.random() < 0.1,
        actions=tuple(sorted((*spec.actions, *mends))),
    )

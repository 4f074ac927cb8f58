"""Tests the simulated model's JSON: the Worker reads the value that the model's record states."""

import json
from random import Random

import pytest

from simulator.campaign.checks.joined import joined
from simulator.campaign.clients.forms import FORMS
from simulator.engine.answers import answer
from simulator.engine.fault_kinds import MISFORMED
from simulator.engine.fault_plan import FaultPlan
from src.features.structured.forms import judge
from src.features.structured.joining import joiner_for
from src.features.structured.schema.schema import parse_schema

ANSWERS = 400


@pytest.mark.parametrize("fault", ["", *MISFORMED])
@pytest.mark.parametrize("name", FORMS)
def test_an_answer_is_worth_what_the_model_says(name: str, fault: str):
    schema = dict(FORMS[name].schema)
    plan = FaultPlan(Random(name + fault), {fault: 1.0} if fault else {})
    kinds = set()
    for number in range(ANSWERS):
        said = answer(schema, f"seen {number}", plan, "", is_cut=False)
        judged = judge(parse_schema(schema, strict=True), said.text, said.finish_reason)
        assert judged.output == (said.said or None), said
        assert judged.repaired == said.is_disguised, said
        kinds.add((said.kind, said.is_disguised))
    wanted = {
        "output_unfit": {("unfit", False)},
        "output_no_json": {("unfit", False)},
        "output_cut": {("cut", False)},
        "output_disguised": {("ok", True), ("ok", False)},
    }
    assert kinds <= wanted.get(fault, {("ok", False)})
    assert fault != "output_disguised" or ("ok", True) in kinds


@pytest.mark.parametrize("name", FORMS)
def test_the_join_by_hand_is_the_workers(name: str):
    form, rng = FORMS[name], Random(name)
    schema = parse_schema(dict(form.schema), strict=True)
    for number in range(200):
        count = rng.randint(1, 6)
        texts = [
            answer(form.schema, f"{number} {place}", FaultPlan(rng), "", is_cut=False).worth for place in range(count)
        ]
        values = [json.loads(text) for text in texts if text is not None]
        joiner = joiner_for(schema, form.join)
        for value in values:
            joiner.add(value)
        assert joiner.result() == joined(form.schema, values)

"""The audit of the chaos run accepts a correct task, and names each kind of fault."""

from typing import Any

from src.kernel.text.chunks import chunks, cuts
from tests.support.chaos_audit import audit
from tests.support.chaos_work import MAX_CHARS, Submission
from tests.support.model_plan import Call

ORIGIN = Submission("t0001x0", 3, "concat")


def calls(*more: int) -> list[Call]:
    spans = chunks(cuts(ORIGIN.text, MAX_CHARS), 0)
    texts = [ORIGIN.text[span.start : span.end] for span in spans]
    return [
        Call(
            number=number,
            arrived_at=number,
            model="m",
            system=f"origin {ORIGIN.tag}.",
            user=text,
            roles=[],
            authorized=True,
            in_flight=1,
            answered="ok",
            complete=True,
            ended_at=number + 0.5,
        )
        for number, text in enumerate(texts + [texts[at] for at in more], 1)
    ]


def task(*, model_calls: int = 3, in_doubt: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the task as the API would show it."""
    usage = {"modelCalls": model_calls, "minimumCalls": 3, "inDoubt": in_doubt}
    return {
        "id": "a",
        "status": "completed",
        "terminal": True,
        "route": "queue",
        "metadata": ORIGIN.body()["metadata"],
        "error": None,
        "result": {"output": ORIGIN.result()},
        "usage": usage,
    } | changes


def violations(found: dict[str, Any], ledger: list[Call], *accepted: str) -> str:
    return "; ".join(audit(accepted or ["a"], [found], ledger).violations)


def test_a_task_that_is_right_is_not_named():
    assert violations(task(), calls()) == ""
    assert violations(task(model_calls=4, in_doubt=1), calls(0)) == ""
    assert violations(task(model_calls=4, in_doubt=1), calls()) == ""


def test_each_broken_promise_is_named():
    assert "b: accepted and gone" in violations(task(), calls(), "a", "b")
    assert "still processing" in violations(task(terminal=False, status="processing"), calls())
    assert "ended as failed" in violations(task(status="failed"), calls())
    assert "wrong output" in violations(task(result={"output": "nonsense"}), calls())
    assert "counted 3 calls, the task 5" in violations(task(model_calls=5, in_doubt=1), calls())
    assert "gave a good answer again" in violations(task(model_calls=5, in_doubt=1), calls(0, 1))
    assert "which no task has" in "; ".join(audit([], [], calls()).violations)

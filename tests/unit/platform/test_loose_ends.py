"""No timer that cannot be cleared, and no task without an end: they would call back later (0013)."""

import ast
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[3] / "src"
# Asyncio tasks that one function cancels and another function awaits, each with the reason.
AWAITED_ELSEWHERE = {
    ("objects/laned_caller.py", "abort", "made"): "`_make` waits for its call",
    ("objects/lane.py", "abort", "made"): "`make_calls` waits for all of its calls",
    ("kernel/run/call_groups.py", "_hear", "timer"): "a handle of the loop, and no task",
    ("platform/event_loop.py", "cancel", "self._handed_over"): "a handle of the loop, and no task",
    ("platform/event_loop.py", "cancel", "super()"): "a handle of the loop, and no task",
    ("platform/ai.py", "run", "call"): "the promise was waited for, and what it says is asked for",
}
MAKES_TASKS = {"asyncio.create_task", "asyncio.ensure_future"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def own(function: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from own(child)


def walked(function: ast.AST, variable: str) -> set[str]:
    """Return what the function's loops with this variable iterate over."""
    loops = [node for node in own(function) if isinstance(node, ast.For | ast.comprehension)]
    return {ast.unparse(loop.iter) for loop in loops if ast.unparse(loop.target) == variable}


def left_alone(text: str) -> list[tuple[str, str]]:
    found = []
    for function in functions(ast.parse(text)):
        nodes = list(own(function))
        awaits = [node for node in nodes if isinstance(node, ast.Await)]
        for node in nodes:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cancel"):
                continue
            if any(one.value is node for one in awaits):  # the promise of a stream reader's `cancel` is awaited at once
                continue
            receiver = ast.unparse(node.func.value)
            names = {receiver} | walked(function, receiver)
            behind = [name for one in awaits if one.lineno >= node.lineno for name in ast.walk(one)]
            if not names & {ast.unparse(one) for one in behind if isinstance(one, ast.Name | ast.Attribute)}:
                found.append((function.name, receiver))
    return found


def dropped(text: str) -> list[str]:
    return [
        ast.unparse(node.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in MAKES_TASKS
    ]


def sources() -> dict[str, str]:
    return {str(path.relative_to(SRC)): path.read_text("utf-8") for path in sorted(SRC.rglob("*.py"))}


def test_no_timer_of_javascript_that_nobody_can_clear():
    for name, text in sources().items():
        called = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
        assert not {one for one in called if one.endswith(("AbortSignal.timeout", "AbortSignal.any"))}, name
        assert "AbortSignal" not in text, name  # nor under another name


def test_every_task_that_is_cancelled_is_awaited():
    found = {(name, *one) for name, text in sources().items() for one in left_alone(text)}
    assert found == AWAITED_ELSEWHERE.keys()


def test_every_task_is_kept():
    assert {name: lines for name, text in sources().items() if (lines := dropped(text))} == {}

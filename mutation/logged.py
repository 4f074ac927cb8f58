"""Finds code that serves only the log: calls of the log, and values that are computed only for these calls.

Mistakes in code that serves only the log change no behaviour of the Worker.
"""

import ast
from collections.abc import Iterator

_LOGS = {"log", "_log"}


def logged_nodes(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that serve only the log: its calls, and the assignments that only these calls read."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_log(node.func)]
    found = {inner for call in calls for inner in ast.walk(call)}
    found |= {node for node in ast.walk(tree) if isinstance(node, ast.Expr) and node.value in found}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    while more := {node for function in functions for node in _read_there_alone(function, found)} - found:
        found |= more
    return found


def _is_log(called: ast.expr) -> bool:
    """Whether `called` is a log, such as `self._log`, or an attribute of a log, such as `log.failure`."""
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _LOGS:
            return True
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _LOGS
        case _:
            return False


def _read_there_alone(function: ast.AST, found: set[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of those assignments of a function whose names only calls of the log read."""
    read = [node for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    logged = {node.id for node in read if node in found} - {node.id for node in read if node not in found}
    for statement in ast.walk(function):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in logged and _does_nothing(value):
                yield from ast.walk(statement)
            case _:
                pass


def _does_nothing(value: ast.expr) -> bool:
    """Whether the computation of a value seems to have no effect; only calls of methods may have an effect."""
    return not any(
        isinstance(node, ast.Await) or (isinstance(node, ast.Call) and not isinstance(node.func, ast.Name))
        for node in ast.walk(value)
    )

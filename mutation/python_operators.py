"""Makes the mistakes in Python: defines their kinds, and finds where in a module each kind can be made.

Some places get no mistake, because a mistake there could not change behaviour, or could not survive. The places without
mistakes are the log, assertions, annotations, texts, decorators, and assignments without which the first use raises
AttributeError.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping

from mutation.logged import logged_nodes
from mutation.source import Edit, Source, Span, enclosing_function

# Maps names of callables to their parameters that may be left out.
type Defaults = Mapping[str, frozenset[str]]

_COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
_LOOSE = ast.BoolOp | ast.IfExp | ast.Lambda | ast.NamedExpr  # operands of `and` and `or` that need parentheses


def python_edits(source: Source, defaults: Defaults) -> Iterator[Edit]:
    """Yield every mistake that can be made in a module."""
    logged = logged_nodes(source.tree)
    for node in _walk(source.tree, logged):
        for rule in _RULES:
            yield from rule(source, node)
        if isinstance(node, ast.Call):
            yield from _keywords(source, node, defaults)


def _walk(node: ast.AST, logged: set[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that may get mistakes."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or child in logged or _is_inert(child):
                continue
            yield from _walk(child, logged)


def _is_inert(node: ast.AST) -> bool:
    """Whether no mistake in a node can change what the module does. Assertions count as such nodes."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.TypeAlias)


# --- statements ---------------------------------------------------------------------------------------------


def _statements(source: Source, node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Expr(value=ast.Await()):
            yield Edit(source.span(node), "pass", "awaited call dropped")
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
            yield Edit(source.span(node), "pass", "statement dropped")
        case ast.Assign(targets=[target]) if _may_be_left_out(source, target):
            yield Edit(source.span(node), "pass", "statement dropped")
        case ast.Return() if not isinstance(source.parents[node], ast.FunctionDef | ast.AsyncFunctionDef):
            yield Edit(source.span(node), "pass", "early return dropped")
        case _:
            pass


def _may_be_left_out(source: Source, target: ast.expr) -> bool:
    """Whether the assigned name seems to have a value before the assignment, so that the code can run without it."""
    function = enclosing_function(source, target)
    if function is None:
        return False
    if isinstance(target, ast.Attribute | ast.Subscript):
        return function.name != "__init__"
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    arguments = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    before = {name.id for name in names if name.lineno < target.lineno} | arguments
    return isinstance(target, ast.Name) and target.id in before


# --- conditions ---------------------------------------------------------------------------------------------


def _conditions(source: Source, node: ast.AST) -> Iterator[Edit]:
    tests: list[ast.expr] = []
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            tests = [] if isinstance(test, ast.Constant) else [test]
        case ast.comprehension(ifs=tests):
            pass
        case ast.match_case(guard=ast.expr() as guard):
            tests = [guard]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield Edit(source.span(node), f"({source.segment(operand)})", "negation dropped")
        case _:
            pass
    for test in tests:
        if not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):  # another rule drops this `not`
            yield Edit(source.span(test), f"(not ({source.segment(test)}))", "condition negated")


def _comparisons(source: Source, node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.Compare):
        return
    sides = [node.left, *node.comparators]
    for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
        token, others = _COMPARISONS[type(operator)]
        gap = Span(source.span(left).end, source.span(right).start)
        for other in others:
            yield Edit(_within(source, gap, token), other, "comparison swapped")


def _within(source: Source, gap: Span, token: str) -> Span:
    """Return the place of an operator between its operands."""
    pattern = r"\s+".join(map(re.escape, token.split()))
    found = re.compile(pattern).search(source.text, *gap)
    assert found is not None, (token, source.text[slice(*gap)])
    return Span(*found.span())


def _connectives(source: Source, node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.BoolOp):
        return
    own, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    parts = [
        f"({source.segment(value)})" if isinstance(value, _LOOSE) else source.segment(value) for value in node.values
    ]
    yield Edit(source.span(node), f"({f' {other} '.join(parts)})", "boolean operator changed")
    for place in range(len(parts)):
        left = parts[:place] + parts[place + 1 :]
        yield Edit(source.span(node), f"({f' {own} '.join(left)})", "operand dropped")


# --- numbers ------------------------------------------------------------------------------------------------


def _constants(source: Source, node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.Constant):
        return
    span = source.span(node)
    if isinstance(node.value, bool):
        yield Edit(span, str(not node.value), "constant swapped")
    elif isinstance(node.value, int | float):
        yield Edit(span, repr(node.value + 1), "constant off by one")
        if node.value >= 1:
            yield Edit(span, repr(node.value - 1), "constant off by one")


def _arithmetic(source: Source, node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
            token, other = _ARITHMETIC[type(operator)]
            gap = Span(source.span(left).end, source.span(right).start)
            yield Edit(_within(source, gap, token), other, "arithmetic swapped")
        case ast.AugAssign(target=target, op=operator, value=right) if type(operator) in _ARITHMETIC:
            token, other = _ARITHMETIC[type(operator)]
            gap = Span(source.span(target).end, source.span(right).start)
            yield Edit(_within(source, gap, f"{token}="), f"{other}=", "arithmetic swapped")
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name) as called) if name in _TWINS:
            end = source.span(called).end
            yield Edit(Span(end - len(name), end), _TWINS[name], "function swapped")
        case _:
            pass


# --- arguments ----------------------------------------------------------------------------------------------


def _keywords(source: Source, call: ast.Call, defaults: Defaults) -> Iterator[Edit]:
    """Yield edits that leave out a keyword argument whose parameter has a default."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            known = defaults.get(name, frozenset())
        case _:
            return
    for keyword in call.keywords:
        if keyword.arg in known:
            span = source.span(keyword)
            tail = re.compile(r"\s*,\s*").match(source.text, span.end)
            head = re.compile(r",\s*\Z").search(source.text, source.span(call).start, span.start)
            whole = Span(span.start, tail.end()) if tail else Span(head.start() if head else span.start, span.end)
            yield Edit(whole, "", "argument with default dropped")


_RULES: tuple[Callable[[Source, ast.AST], Iterator[Edit]], ...] = (
    _statements,
    _conditions,
    _comparisons,
    _connectives,
    _constants,
    _arithmetic,
)

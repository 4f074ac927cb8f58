"""Finds which parameters of the Worker's functions and classes may be left out of a call, by the callable's name."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mutation.python_operators import Defaults
from mutation.source import FUNCTIONS

# Callables of the standard library that the Worker uses, with their parameters that may be left out.
_STANDARD = {"wait": {"timeout", "return_when"}, "sorted": {"key"}}


def defaults_of(trees: Iterable[ast.Module]) -> Defaults:
    """Return for each name of a callable the parameters that have a default in every callable of this name."""
    found: dict[str, set[str]] = defaultdict(set)
    needed: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for name, parameter, is_optional in _parameters(tree):
            (found if is_optional else needed)[name].add(parameter)
    for name, parameters in _STANDARD.items():
        found[name] |= parameters
    return {name: frozenset(parameters - needed[name]) for name, parameters in found.items()}


def _parameters(tree: ast.Module) -> Iterator[tuple[str, str, bool]]:
    """Yield the name of a callable, the name of a parameter, and whether the parameter may be left out."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield from _of_function(node.name, node.args)
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                match statement:
                    case ast.AnnAssign(target=ast.Name(id=field), value=value):
                        yield node.name, field, value is not None
                    case ast.FunctionDef(name="__init__", args=arguments):
                        yield from _of_function(node.name, arguments)
                    case _:
                        pass


def _of_function(name: str, arguments: ast.arguments) -> Iterator[tuple[str, str, bool]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    for place, argument in enumerate(positional):
        yield name, argument.arg, place >= first
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield name, argument.arg, default is not None

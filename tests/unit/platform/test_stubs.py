"""The type stubs of the SDK declare nothing that the installed SDK lacks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SDK = ROOT / "python_modules" / "workers"
STUB = ast.parse((ROOT / "stubs" / "workers" / "__init__.pyi").read_text())
type Callables = dict[str, ast.FunctionDef | ast.AsyncFunctionDef]


def callables(tree: ast.Module) -> Callables:
    found: Callables = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{node.name}.{member.name}"] = member
    return found


STUBBED = callables(STUB)
INSTALLED = {
    name: node
    for module in ("entrypoints", "fetch", "request", "response")
    for name, node in callables(ast.parse((SDK / f"{module}.py").read_text())).items()
}
# Pyodide's own response defines these members, and the stub only gives or completes their types.
INHERITED = {"Response.json"}


def test_the_sdk_exports_each_name_of_the_stub():
    exports = ast.parse((SDK / "__init__.py").read_text())
    names = next(
        ast.literal_eval(node.value)
        for node in exports.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    stubbed = {node.name for node in STUB.body if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)}
    assert stubbed <= set(names)


@pytest.mark.parametrize("name", sorted(set(STUBBED) - INHERITED))
def test_the_stub_has_the_parameters_of_the_sdk(name: str):
    stubbed, installed = STUBBED[name], INSTALLED[name]
    assert type(stubbed) is type(installed)
    parameters = [argument.arg for argument in stubbed.args.args]
    assert parameters == [argument.arg for argument in installed.args.args][: len(parameters)]
    assert (stubbed.args.kwarg is None) == (installed.args.kwarg is None)

"""Requirements: running needs only packages that the code imports, and the documents state the true size on disk."""

import ast
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from local import install
from local.node import ROOT

pytestmark = pytest.mark.slow  # the installation

LOCKS = ("run", "dev", "worker", "model")
# Modules and programs that targets of the Makefile run, although no recipe names them. Some are steps of `make
# install`; the others are started by modules that the recipes name.
PROGRAMS = ("local.pyodide_bundle", "local.wrangler_dev", "onceover_cli.__main__")
# Modules of the Workers runtime, which never run on the host.
OF_THE_RUNTIME = {"js", "workers", "pyodide", "pyodide_js", "_pyodide", "entry"}


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def wanted(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.in").read_text("utf-8")
    return set(re.findall(r"^([a-z0-9-]+(?:==\S+)?)$", text, re.MULTILINE))


def test_what_running_needs_is_a_share_of_what_the_tests_need() -> None:
    assert wanted("run") < wanted("dev")
    assert pins("run").items() < pins("dev").items()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_exact_has_digests_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    packages = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert packages
    assert all(re.match(r"[a-z0-9-]+==\S+ .*\\\n    --hash=sha256:[0-9a-f]{64}", package) for package in packages)
    assert "://" not in text


def test_the_packages_of_npm_have_digests_and_no_address() -> None:
    packages = json.loads(install.NPM_LOCK.read_text("utf-8"))["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert not [name for name, package in packages.items() if name and "integrity" not in package]


def recipes() -> dict[str, tuple[str, str]]:
    """Return the Makefile's targets that need packages: what installs them, and the module run."""
    text = (ROOT / "Makefile").read_text("utf-8")
    found = re.findall(r"^([a-z]+): (install(?:-dev)?) ##.*\n\t.*?-m ([a-z._]+)", text, re.MULTILINE)
    return {target: (installs, module) for target, installs, module in found}


def _file_of(module: str) -> Path | None:
    folder = ROOT / "cli" if module.startswith("onceover_cli") else ROOT
    place = folder.joinpath(*module.split("."))
    if (place / "__init__.py").is_file():
        return place / "__init__.py"
    if place.with_suffix(".py").is_file():
        return place.with_suffix(".py")
    return place / "__main__.py" if (place / "__main__.py").is_file() else None


def _named(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Return the names of modules, and perhaps of what is in them, that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*start, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _imports(file: Path) -> frozenset[str]:
    inside = file.relative_to(ROOT / "cli" if "cli" in file.relative_to(ROOT).parts[:1] else ROOT)
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return frozenset(name for node in nodes for name in _named(node, list(inside.parent.parts)))


def imported(modules: Iterable[str]) -> set[str]:
    waiting, seen, others = list(modules), set[Path](), set[str]()
    while waiting:
        module = waiting.pop()
        file = _file_of(module)
        if file is None:
            top = module.partition(".")[0]
            if not (ROOT / top).is_dir() and top != "onceover_cli":
                others.add(top)
        elif file not in seen:
            seen.add(file)
            waiting.extend(_imports(file))
    return others - set(sys.stdlib_module_names) - OF_THE_RUNTIME


def packages_of(modules: Iterable[str]) -> set[str]:
    distributions = importlib.metadata.packages_distributions()
    return {distributions[name][0].lower().replace("_", "-") for name in imported(modules)}


def test_what_make_install_installs_is_what_its_targets_import() -> None:
    run = {target: module for target, (installs, module) in recipes().items() if installs == "install"}
    assert {"dev", "key", "model", "docs", "bundle", "deploy", "secrets"} == set(run)
    packages = packages_of([*run.values(), *PROGRAMS])
    assert packages <= set(pins("run"))
    asked = {name.partition("==")[0] for name in wanted("run")}
    # Each required package is imported by one of the following modules or programs.
    assert asked <= packages
    development = {target: module for target, (installs, module) in recipes().items() if installs == "install-dev"}
    of_tests = {"quick", "test", "campaign", "coverage", "check", "format"}
    assert of_tests | {"simulate", "chaos", "mutate", "bench", "release"} == set(development)


def test_running_uses_no_package_of_npm_that_is_for_tests() -> None:
    packages = json.loads(install.NPM_LOCK.read_text("utf-8"))["packages"]
    left_out = {name.rpartition("node_modules/")[2] for name, package in packages.items() if package.get("dev")}
    used = {
        name
        for file in (ROOT / "local").rglob("*.mjs")
        for name in re.findall(r"""(?:from|import\()\s*["']([@a-z0-9/_-]+)["']""", file.read_text("utf-8"))
    }
    assert used
    assert not used & left_out
    assert "--omit=dev" in install._RUN_NODE.commands()[0]
    assert "--omit=dev" not in install._DEV_NODE.commands()[0]

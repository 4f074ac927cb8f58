"""What features register: their paths and their imports."""

import ast
from pathlib import Path

import pytest

from src.composition import CATALOGUE
from src.features import FEATURES
from src.kernel.feature import PathGroup

MODULES = sorted((Path(__file__).resolve().parents[3] / "src" / "features").glob("*/feature.py"))


@pytest.mark.parametrize("group", CATALOGUE.groups, ids=lambda group: group.paths[0])
def test_a_group_has_the_calls_of_its_paths(group: PathGroup) -> None:
    """Each group of calls has exactly the calls of its paths."""
    assert {endpoint.path for endpoint in group.load()} == set(group.paths)


def test_a_path_is_in_one_group() -> None:
    paths = [path for group in CATALOGUE.groups for path in group.paths]
    assert len(set(paths)) == len(paths)


def test_groups_have_an_order() -> None:
    """The API's description lists paths in the same order, in whatever order features are registered."""
    assert len({group.rank for group in CATALOGUE.groups}) == len(CATALOGUE.groups)


def test_each_feature_is_registered_once() -> None:
    assert sorted(feature.name for feature in FEATURES) == [module.parent.name for module in MODULES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.parent.name)
def test_registering_imports_no_code_of_the_feature(module: Path) -> None:
    """At its top, a `feature.py` imports only `Feature` and `Kind`, so it costs an isolate's start nothing more."""
    top = [node.module or "" for node in ast.parse(module.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert {name for name in top if name not in {"collections.abc", "typing", "kernel.domain.task"}} == {
        "kernel.feature"
    }

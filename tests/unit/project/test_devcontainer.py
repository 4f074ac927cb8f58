"""The devcontainer has the versions that the project needs, and its commands exist."""

import importlib
import json
import re
import tomllib
from typing import Any

from local.arguments import DEFAULT_PORT
from local.node import MINIMUM_MAJOR, ROOT

yaml: Any = importlib.import_module("yaml")
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))


def of_the_workflow(action: str) -> dict[str, str]:
    """Return the version that the workflow for every change gives to an action that sets up a language."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]["ci"]
    (found,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith(f"actions/setup-{action}@")]
    return dict(found)


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_its_python_is_the_one_that_every_change_is_tried_with() -> None:
    """The devcontainer's Python is the workflow's, and is new enough for the project."""
    found = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(\d+\.\d+)-[a-z]+", CONTAINER["image"])
    assert found is not None
    assert found[1] == of_the_workflow("python")["python-version"]
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert version(found[1]) >= version(needed.removeprefix(">="))


def test_its_node_is_the_one_that_every_change_is_tried_with() -> None:
    """The devcontainer's Node.js is the workflow's; wrangler accepts it, and `npx wrangler` finds it on PATH."""
    (node,) = [options for name, options in CONTAINER["features"].items() if "/features/node:" in name]
    assert node["version"] == of_the_workflow("node")["node-version"]
    assert version(node["version"])[0] >= MINIMUM_MAJOR


def test_it_installs_what_the_tests_need() -> None:
    """The devcontainer installs everything that the tests need with a target of the Makefile."""
    target = CONTAINER["postCreateCommand"].removeprefix("make ")
    assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    install = "install -y --no-install-recommends chromium"
    assert f"{install} >" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert CONTAINER["onCreateCommand"].endswith(install)


def test_make_dev_is_reached_on_the_port_that_it_serves() -> None:
    """The devcontainer forwards `make dev`'s port unchanged, since the server refuses requests for another port."""
    assert CONTAINER["forwardPorts"] == [DEFAULT_PORT]
    assert CONTAINER["portsAttributes"][str(DEFAULT_PORT)]["requireLocalPort"] is True

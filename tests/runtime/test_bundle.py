"""Tests that `make bundle` builds and shows what a deployment of each environment uploads, without an account."""

import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import pytest

from local.node import find_node
from tests.support.dev_server import ROOT
from tests.support.programs import output_of

pytestmark = pytest.mark.runtime

LIMIT_KIB = 2560  # 2.5 MiB gzipped. The Worker has 2.43 MiB, and most of that is pydantic.
EVERYWHERE = {"DB (onceover)", "BLOBS (onceover-files)", "AI", 'AI_PROVIDER ("workers-ai")'}
OBJECTS = {"AI_PROCESSOR (AIProcessor)", "BATCH_COORDINATOR (BatchCoordinator)"}
QUEUES = {"AI_QUEUE (ai-processing-queue)", "AI_DLQ (ai-processing-dlq)"}
BINDINGS = {
    "": EVERYWHERE | OBJECTS | QUEUES,
    "free": EVERYWHERE | OBJECTS,
    "direct": EVERYWHERE | {'AI_TIMEOUT_SECONDS ("20")'},
}


@dataclass(frozen=True)
class Bundle:
    """The output of `make bundle`, and the files that it built."""

    output: str
    files: frozenset[str]


@cache
def build(env: str) -> Bundle:
    command = [sys.executable, "-m", "local.deployment", "bundle", env]
    output = output_of(command, cwd=ROOT)
    folder = ROOT / ".build" / f"bundle-{env or 'top'}"
    files = frozenset(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Bundle(output, files)


@pytest.mark.parametrize("env", BINDINGS)
def test_the_upload_holds_the_worker_and_its_packages(env: str) -> None:
    files = build(env).files
    ours = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert "entry.py" in files
    assert ours <= files
    assert "python_modules/pydantic/main.py" in files
    assert "python_modules/workers/entrypoints.py" in files
    assert any(re.fullmatch(r"python_modules/pydantic_core/_pydantic_core\..*wasm32.*\.so", name) for name in files)
    assert not [name for name in files if name.endswith((".pyc", ".pyi")) or "pytest" in name]


@pytest.mark.parametrize("env", BINDINGS)
def test_the_upload_is_within_its_limit(env: str) -> None:
    output = build(env).output
    (size,) = re.findall(r"^gzip: (\d+) KiB$", output, re.MULTILINE)
    (exact,) = re.findall(r"Total Upload: .*gzip: ([\d.]+) KiB", output)
    assert int(size) == round(float(exact))
    assert 500 < int(size) <= LIMIT_KIB


@pytest.mark.parametrize(("env", "expected"), BINDINGS.items())
def test_the_bindings_are_those_of_the_environment(env: str, expected: set[str]) -> None:
    """The top level binds queues and objects, `free` objects, `direct` neither, with a warning."""
    output = build(env).output
    assert set(re.findall(r"^env\.(.+?)  +\S", output, re.MULTILINE)) == expected
    missed = {"direct": ["AI_PROCESSOR", "BATCH_COORDINATOR"]}
    assert re.findall(r"^ +- ([A-Z_]+)$", output, re.MULTILINE) == missed.get(env, [])
    assert output.count("WARNING") == (1 if env in missed else 0)


def test_what_runs_is_what_is_uploaded() -> None:
    folder = ROOT / ".build" / "bundle-top"
    uploaded = {
        name: sha256((folder / name).read_bytes()).hexdigest()
        for name in build("").files
        if not re.search(r"(^|/)README\.md$", name)
    }
    program = [str(find_node()), "--disable-warning=ExperimentalWarning", "tests/support/modules.mjs", str(ROOT)]
    assert json.loads(output_of(program, cwd=ROOT).splitlines()[-1]) == uploaded

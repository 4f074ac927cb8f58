"""Finds the shell commands in the project's documents, as a reader would paste them, and runs them for tests."""

import os
import re
import subprocess
from pathlib import Path

from tests.support.programs import ran

ROOT = Path(__file__).resolve().parents[2]
LOCAL_URL = "http://127.0.0.1:8787"

# The beginnings of commands that a test cannot run, each with the reason.
NOT_RUN = {
    "npx wrangler": "needs a Cloudflare account",
    "make deploy": "needs a Cloudflare account; tests/unit/local/test_deploy.py does it in a stand-in for one",
    ".venv/bin/python examples/": "needs a server; tests/runtime/test_examples.py does it",
    "make release": "runs the campaign, and tags; tests/unit/project/test_tiers.py has its parts",
    "make secrets": "needs an account; tests/unit/local/test_deployment_command.py does it in a stand-in for one",
    "sh create-cloudflare-queues.sh": "needs a Cloudflare account; tests/unit/local/test_queue_scripts.py runs it",
    "curl -s https://onceover.example.workers.dev": "needs a deployment",
    "python3 -c 'import sqlite3;": "needs an export; tests/runtime/test_backup.py does it",
    "python3 ops/invocations.py": "needs a Cloudflare account; tests/unit/ops/test_operations.py does it",
    "git pull": "changes the clone",
    "uv tool install": "asks a registry, and installs for the user",
    "onceover --install-completion": "writes into the user's shell",
    "onceover webhooks": "needs WEBHOOK_KEY and a receiver; tests/unit/cli/test_cli_commands.py does it",
    "onceover tenant": "needs a key with the scope operator; tests/unit/cli/test_cli_tenants.py does it",
    'make key ARGS="--remote"': "needs a Cloudflare account",
    'make key ARGS="--remote ': "needs a Cloudflare account",
    "OLLAMA_": "needs Ollama",
    "llama-server": "needs llama.cpp and a model",
    "python -m llama_cpp.server": "needs llama-cpp-python and a model",
    "vllm serve": "needs vLLM and a model",
    "python -m bench.batches": "takes minutes; tests/simulator/campaign/test_batch_loads.py counts as it does",
    "python -m bench.filled_schemas": "lets a real model work for minutes",
}

# Targets of make that a test only looks up (`make -n`), each with the reason.
_LOOKED_UP = {
    "install": "every other target runs it",
    "check": "takes as long as this whole module; each change passes it anyway",
    "format": "rewrites the working tree",
    "docs": "rewrites the working tree; a test of its own checks the pages",
    "bundle": "takes long; tests/runtime/test_bundle.py builds it",
    "quick": "tests/unit/docs/test_contributing.py runs it",
}

# Targets that a test only looks up, each with the page whose commands run it.
RUN_BY_PAGES = {
    "key": "docs/configuration.md",
    "model": "docs/local-models.md",
    "bench": "docs/performance.md",
    "mutate": "docs/verification/claims.md",
}

_FEW_TESTS = "tests/unit/kernel/calls/test_model_health.py"

# For each make target that takes minutes, arguments with which it checks its flags but does little work.
_SHORT = {
    "simulate": "SEEDS=2 WORKERS=1",
    "chaos": "ARGS=--help",
    "mutate": "ARGS=--help",
    "campaign": "ARGS=--list",
    "bench": "ARGS=--help",
    "model": "ARGS=--help",
    "test": "PYTEST_PARALLEL=",
    "coverage": f"PYTEST_ARGS={_FEW_TESTS}",
}

# Variables that `make test` sets and a reader's shell does not have. A test removes the variables that `make test`
# sets, because a make that the test starts would inherit these variables.
OF_THE_OUTER_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS", "PYTEST_ARGS", "PYTEST_PARALLEL")


def documents() -> list[Path]:
    top = [path for path in sorted(ROOT.glob("*.md")) if path.name not in {"CONTRIBUTING.md", "CHANGELOG.md"}]
    folders = ("docs", "examples", "simulator")
    found = [*top, *(path for folder in folders for path in sorted(ROOT.glob(f"{folder}/**/*.md")))]
    # tests/unit/docs/test_translations.py compares the commands of a translation with those of its original.
    return [path for path in found if not path.name.endswith(".zh-CN.md")]


def blocks(document: Path, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    found: list[str] = []
    pending = ""
    for line in block.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if pending.strip() and _is_whole(pending):
            found.append(pending.strip())
            pending = ""
    assert not pending.strip(), f"not a whole command: {pending}"
    return found


def _is_whole(text: str) -> bool:
    if text.endswith(("\\", "|", "&&")):
        return False
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False).returncode == 0


def listed_commands() -> list[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    return [f"make {target}" for target in re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE)]


def not_run(command: str) -> str | None:
    return next((start for start in NOT_RUN if command.startswith(start)), None)


def target(command: str) -> str | None:
    match = re.match(r"make(?: -s)? ([a-z]+)", command)
    return match[1] if match else None


def dev_arguments(command: str) -> str | None:
    if target(command) != "dev":
        return None
    match = re.fullmatch(r'make dev(?: ARGS="([^"]*)")?', command)
    assert match, f"a form of make dev that the test does not know: {command}"
    return match[1] or ""


def looked_up(command: str) -> str:
    """Rewrite a `make` command so that make only prints what it would do."""
    return command.replace("make ", "make -n ", 1)


def trial(command: str, url: str, state: Path) -> str:
    if '"$URL/' in command:  # The server of the tests checks no key.
        command = command.replace('"$URL/', f'"{url}/').replace("Bearer $KEY", "Bearer none")
    command = command.replace(LOCAL_URL, url)
    if re.search(r"(^|[\s(|/])onceover ", command):
        command = f"export ONCEOVER_URL={url}\n{command}"
    command = re.sub(r"make (-s )?key(?: ARGS=\"([^\"]*)\")?", rf'make \1key ARGS="--persist-to {state} \2"', command)
    # So few schedules take seconds, even with crowds or batches. Of two values of an option the last one counts.
    command = re.sub(r"(-m simulator .*--seeds) \d+", r"\1 2", command)
    command = re.sub(r"-m simulator\.capacity .*", r"\g<0> --seconds 5", command)
    name = target(command)
    if name in _LOOKED_UP:
        return looked_up(command)
    if name == "test":
        given = re.search(r'PYTEST_ARGS="([^"]*)"', command)
        return f'make test {_SHORT["test"]} PYTEST_ARGS="--collect-only -q {given[1] if given else _FEW_TESTS}"'
    if name == "simulate" and "SEED=" in command:
        return command
    if name not in _SHORT:
        return command
    if _SHORT[name].startswith("ARGS="):  # make takes the last of several values
        command = re.sub(r' ARGS="[^"]*"', "", command)
    return f"{command} {_SHORT[name]}"


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run commands in a shell in which these variables are set, too."""
    own = {name: value for name, value in os.environ.items() if name not in OF_THE_OUTER_MAKE}
    # The page docs/cli.md tells the reader to set this path.
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return ran(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env={**own, "PATH": path, **variables})

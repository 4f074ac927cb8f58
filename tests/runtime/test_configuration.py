"""Tests the lines that `make dev` prints about its variables before it is ready."""

import shutil
from pathlib import Path

import pytest

from src.kernel.domain.ids import TENANT_TAKES
from tests.support.dev_server import ROOT, DevServer, run_dev

pytestmark = pytest.mark.runtime

TIMEOUT = "AI_TIMEOUT_SECONDS must be a number from 0.1 to 600"
NO_WORKERS_AI = "AI_PROVIDER must be openai or demo under `make dev`: workers-ai needs an account and the network"
NO_URL = "AI_BASE_URL must be set when AI_PROVIDER is openai: a URL up to and including /v1"
NOT_A_URL = "AI_BASE_URL must be an http or https URL up to and including /v1, without credentials, query or fragment"
NOT_ORIGINS = (
    "CORS_ORIGINS must be web origins as browsers send them, separated by commas: http or https, a host in lower case, "
    "a port unless it is the scheme's own, no path, no slash at the end, no *"
)
TOO_SHORT = "LEASE_SECONDS must be greater than AI_TIMEOUT_SECONDS (60), or a claim would end before its call does"
NOT_OPTIONS = (
    "names of fields, separated by commas, none of them max_completion_tokens, max_tokens, messages, model, n, prompt, "
    "stream, stream_options, temperature"
)
NOT_A_LINE = "must be NAME=value, empty, or a comment that begins with #"

LIMITS = (
    "limits    1,000,000 bytes of input, 6,000 characters a chunk, 6 calls at a time, 120 s a call, "
    "9 tasks in flight a tenant, invocations as on the free plan"
)

# For each case: variables for `--var`, the content of `.dev.vars`, and every fault that `make dev` must name.
BROKEN: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "unknown provider": ({"AI_PROVIDER": "gpt"}, "", ["AI_PROVIDER must be one of workers-ai, openai, demo (--var)"]),
    "workers-ai without an account": ({"AI_PROVIDER": "workers-ai"}, "", [f"{NO_WORKERS_AI} (--var)"]),
    "openai without a URL": ({}, "AI_PROVIDER=openai\n", [NO_URL]),
    "a lease shorter than a call": ({"LEASE_SECONDS": "60"}, "AI_TIMEOUT_SECONDS=60\n", [f"{TOO_SHORT} (--var)"]),
    "numbers": (
        {"AI_TIMEOUT_SECONDS": "soon", "LEASE_SECONDS": "0", "AI_CONCURRENCY": "12", "RETENTION_DAYS": "-1"},
        "",
        [
            f"{TIMEOUT} (--var)",
            "LEASE_SECONDS must be a number from 0.2 to 3600 (--var)",
            "AI_CONCURRENCY must be a whole number from 1 to 6 (--var)",
            "RETENTION_DAYS must be a number from 0 to 3650 (--var)",
        ],
    ),
    "whole numbers": (
        {"MAX_ATTEMPTS": "2.5", "MAX_INPUT_BYTES": "1e6"},
        "CHUNK_MAX_CHARS=0\n",
        [
            "CHUNK_MAX_CHARS must be a whole number from 1 to 1000000 (.dev.vars)",
            "MAX_INPUT_BYTES must be a whole number from 1 to 1850000 (--var)",
            "MAX_ATTEMPTS must be a whole number from 1 to 20 (--var)",
        ],
    ),
    "origins": ({"CORS_ORIGINS": "https://app.example.com/"}, "", [f"{NOT_ORIGINS} (--var)"]),
    "choices": (
        {"REQUIRE_KEYS": "yes", "PLAN": "enterprise"},
        "",
        ["PLAN must be one of free, paid (--var)", "REQUIRE_KEYS must be one of true, false (--var)"],
    ),
    "what is asked of the model, and how long": (
        {"AI_MAX_OUTPUT_TOKENS": "-1", "AI_MODEL_OPTIONS": "seed,messages", "MODEL_PATIENCE_SECONDS": "a day"},
        "KEEP_INPUT=maybe\nSTORAGE_MB_MOST=0\nOPERATOR_TENANT=a b\n",
        [
            "AI_MAX_OUTPUT_TOKENS must be a whole number from 0 to 1000000 (--var)",
            f"AI_MODEL_OPTIONS must be {NOT_OPTIONS} (--var)",
            "MODEL_PATIENCE_SECONDS must be a number from 0 to 86400 (--var)",
            "STORAGE_MB_MOST must be a whole number from 1 to 1000000 (.dev.vars)",
            "KEEP_INPUT must be one of true, false (.dev.vars)",
            f"OPERATOR_TENANT must be {TENANT_TAKES} (.dev.vars)",
        ],
    ),
    "a URL and a key that are none": (
        {"AI_BASE_URL": "models.example/v1"},
        'AI_PROVIDER=openai\nAI_API_KEY="two words"\n',
        [
            f"{NOT_A_URL} (--var)",
            "AI_API_KEY must be printable ASCII without spaces, as it goes into a header (.dev.vars)",
        ],
    ),
    "lines that set nothing, and a variable": (
        {"AI_TIMEOUT_SECONDS": "0"},
        '# fine\n\nAI_MODEL llama\nexport PLAN=paid\n=x\nAI_API_KEY="half\n',
        [
            f"{TIMEOUT} (--var)",
            f"line 3 of .dev.vars {NOT_A_LINE}",
            f"line 5 of .dev.vars {NOT_A_LINE}",
            "line 6 of .dev.vars has a quote that is not closed",
        ],
    ),
}
# These cases have faults of every kind and from every source of variables. The other cases run only in the campaign.
EACH_COMMIT = {
    *("openai without a URL", "what is asked of the model, and how long", "lines that set nothing, and a variable"),
    "a lease shorter than a call",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "wrangler.toml", folder)
    for name in ("src", "migrations", "public"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def flags_of(variables: dict[str, str]) -> list[str]:
    return [part for name, value in variables.items() for part in ("--var", f"{name}:{value}")]


@pytest.mark.parametrize(
    ("flags", "file", "faults"),
    [
        pytest.param(*case, id=name, marks=[] if name in EACH_COMMIT else [pytest.mark.campaign])
        for name, case in BROKEN.items()
    ],
)
def test_every_fault_is_named_at_once(
    project: Path, tmp_path: Path, flags: dict[str, str], file: str, faults: list[str]
) -> None:
    (project / ".dev.vars").write_text(file)
    state = tmp_path / "state"
    status, lines = run_dev("--port", "0", "--persist-to", str(state), *flags_of(flags), project=project)
    assert [line for line in lines if not line.startswith("warning: ")] == [f"error: {fault}" for fault in faults]
    assert status == 2
    assert not (state / "v3").exists()


def test_what_runs_and_what_nothing_reads_is_said_before_it_is_ready(project: Path, tmp_path: Path) -> None:
    (project / ".dev.vars").write_text("AI_MODLE=llama3.2\nHOME_PAGE=x\nAI_PROVIDER=openai\nMAX_TASKS_IN_FLIGHT=9\n")
    state = tmp_path / "state"
    url = "http://127.0.0.1:9/v1"
    flags = ("--env", "free", "--var", f"AI_BASE_URL:{url}", "--var", "LEASE_SECOND:200")
    with DevServer(state, *flags, project=project) as server:
        said = server.lines[: next(number for number, line in enumerate(server.lines) if line.startswith("Ready on"))]
        assert [line for line in said if line.startswith("warning: ")] == [
            "warning: nothing reads AI_MODLE (.dev.vars); did you mean AI_MODEL?",
            "warning: nothing reads HOME_PAGE (.dev.vars)",
            "warning: nothing reads LEASE_SECOND (--var); did you mean LEASE_SECONDS?",
        ]
        assert said[-1].startswith("runtime   workerd ")
        assert said[-6:-1] == [
            f"provider  openai, model gpt-5.4-mini at {url}",
            "route     durable-object",
            "keys      off: every request belongs to tenant local",
            f"state     {state}",
            LIMITS,
        ]
        printed = len(server.lines)
        (project / ".dev.vars").write_text("AI_PROVIDER=demo\nREQUIRE_KEYS=true\n")
        server.wait_for_line("^Reloaded in", 120, after=printed)
        assert {
            "warning: the provider demo does not use AI_BASE_URL (--var); did you mean AI_PROVIDER:openai?",
            "provider  demo, built in: no model, no network",
            "keys      on, each request needs one: `make key`",
        } < set(server.lines[printed:])
        printed = len(server.lines)
        (project / ".dev.vars").write_text("AI_PROVIDER=none\nPLAN=none\n")
        server.wait_for_line("^Not reloaded: the previous configuration", 60, after=printed)
        assert sum(line.startswith("error: ") for line in server.lines[printed:]) == 2

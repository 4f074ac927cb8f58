"""Runbook and guide: each name in them exists, and they have each fix of the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from local.node import ROOT
from local.remote.fixes import FIXES, RUN_AGAIN
from src.core import codes

DOCS = ROOT / "docs"


def read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def entries() -> dict[str, str]:
    """Return the entries of the runbook, by their headings."""
    symptoms = read("runbook.md").partition("\n## Errors by their text\n")[0]
    parts = re.split(r"^### (.+)$", symptoms, flags=re.MULTILINE)[1:]
    return {title: text.partition("\n## ")[0] for title, text in zip(parts[::2], parts[1::2], strict=True)}


@cache
def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_runbook_has_fifteen_entries_at_least() -> None:
    """Each of the runbook's entries, at least fifteen, has a symptom, a check, a fix and the test that provokes it."""
    assert len(entries()) >= 15
    for title, text in entries().items():
        assert re.findall(r"^- \*\*([A-Z][a-z ]+)\*\*: \S", text, re.MULTILINE) == [
            "Symptom",
            "Check",
            "Fix",
            "Provoked by",
        ], title


@pytest.mark.parametrize("title", entries())
def test_the_test_that_provokes_an_entry_exists(title: str) -> None:
    """The test that a runbook entry names exists, and no other entry names the same test."""
    named = re.findall(r"^- \*\*Provoked by\*\*: `(tests/[\w/]+\.py)::(test_\w+)`$", entries()[title], re.MULTILINE)
    ((path, name),) = named
    assert name in named_in(ROOT / path)
    assert sum(f"`{path}::{name}`" in text for text in entries().values()) == 1


def test_the_first_look_leads_to_entries() -> None:
    """In the runbook's table of symptoms, each entry that is named is a heading."""
    table = read("runbook.md").partition("\n| the first two say")[2].partition("\n## ")[0]
    named = [title for row in re.findall(r"\| ([^|]+) \|$", table, re.MULTILINE) for title in row.split("; ")]
    assert set(named) - {"go to", "---"} <= set(entries())


def test_troubleshooting_has_every_fix() -> None:
    """The table in docs/runbook.md has exactly one row for each entry of fixes.toml, with its words."""
    rows = dict(re.findall(r"^\| ([a-z][a-z-]*) \| [^|]+ \| ([^|]+) \|$", read("runbook.md"), re.MULTILINE))
    assert rows == {fix.id: fix.text.removesuffix(f" {RUN_AGAIN}") for fix in FIXES.values()}
    assert re.findall(r"^\| ([a-z][a-z-]*) \| [^|]+ \| [^|]+ \|$", read("runbook.zh-CN.md"), re.MULTILINE) == list(
        FIXES
    )


def test_what_troubleshooting_quotes_is_found() -> None:
    """A message of wrangler that docs/runbook.md quotes matches the pattern of its row's fix."""
    for name, says in re.findall(r"^\| ([a-z][a-z-]*) \| ([^|]+) \| [^|]+ \|$", read("runbook.md"), re.MULTILINE):
        if FIXES[name].pattern is None:
            continue
        for quote in re.findall(r"`([^`]+)`", says):
            pattern = FIXES[name].pattern
            assert pattern is not None
            assert pattern.search(quote.replace("…", "0007_x.sql" if name == "migration" else "100")), quote


def test_the_codes_of_the_api_are_codes() -> None:
    """Each error code in docs/runbook.md is a code of the API."""
    table = read("runbook.md").partition("| status and code |")[2].partition("\n### ")[0]
    known = {str(code) for kind in (codes.TaskCode, codes.ProblemCode) for code in kind}
    named = set(re.findall(r"^\| \d{3} `(\w+)`", table, re.MULTILINE))
    assert len(named) >= 5
    assert named <= known


@pytest.mark.parametrize("words", ["AI_QUEUE binding is missing", "Queues are not available on the free plan"])
def test_the_errors_of_the_guide_stand_in_their_own_words(words: str) -> None:
    """Two known error texts are headings of docs/runbook.md, in both languages, so that a search finds them."""
    for name in ("runbook.md", "runbook.zh-CN.md"):
        assert f'### "{words}"\n' in read(name)


def test_the_stand_ins_refusals_are_counted() -> None:
    """docs/guide.md says in how many ways the stand-in account of the tests can refuse."""
    refusals = (ROOT / "tests/support/refusals.toml").read_text().count("[[refusal]]")
    assert f"refuses in {refusals} ways" in read("guide.md")


def test_the_key_for_metrics_may_read_them() -> None:
    """docs/operations.md has a command that makes a key with the scope `admin` for Prometheus, as metrics require."""
    (command,) = re.findall(r'^make key ARGS="([^"]*prometheus[^"]*)"$', read("operations.md"), re.MULTILINE)
    assert command.split() == ["--remote", "--label", "prometheus", "--scopes", "admin"]


@pytest.mark.parametrize("name", ["runbook.md", "runbook.zh-CN.md"])
@pytest.mark.parametrize(
    ("provoked_by", "says"),
    [
        ("test_no_keys_at_all", ["503 `not_configured`", '`make key ARGS="--remote"`']),
        (
            "test_a_task_that_breaks_its_worker_ends_as_failed",
            ["`dead_lettered`", "`onceover retry --failed --error-code dead_lettered`"],
        ),
    ],
)
def test_an_entry_says_what_its_test_sees(provoked_by: str, says: list[str], name: str) -> None:
    """A runbook entry names the error codes that its test expects, in both languages."""
    (entry,) = [part for part in re.split(r"^### ", read(name), flags=re.MULTILINE) if f"::{provoked_by}`" in part]
    assert all(text in entry for text in says), entry


def test_the_dashboard_has_a_name_of_its_own() -> None:
    """In Chinese documents 控制台 means Cloudflare's dashboard, and 仪表盘 means onceover's."""
    text = (ROOT / "README.zh-CN.md").read_text("utf-8")
    assert re.findall(r"\[([^\]]*)\]\(docs/dashboard\.md\)", text) == ["仪表盘"]
    assert "按次计费" not in text


def test_the_example_of_doctor_is_one_of_this_version() -> None:
    """The example of `onceover doctor` in docs/cli.md shows version and schema, as an operator sees them."""
    block = read("cli.md").partition("onceover doctor --task")[2].partition("\n```text")[2].partition("```")[0]
    assert re.search(r"^ok      version: version \d+\.\d+\.\d+, schema \d{4}_\w+\.sql$", block, re.MULTILINE)
    assert "skipped" not in block

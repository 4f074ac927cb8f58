"""What the documents say about the code is true: targets, variables, limits, paths, errors, figures and links."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from local import claims_page
from local.api_page import METHODS, page
from local.docs import diagram
from local.node import ROOT
from src.composition import CATALOGUE
from src.features.batches.lines.lines import ENDPOINTS
from src.kernel.domain import limits
from src.kernel.domain.task import TRANSITIONS
from tests.support.shell_blocks import blocks, commands, documents

README = ROOT / "README.md"
WITH_COMMANDS = {str(path.relative_to(ROOT)): path for path in documents()}
CHINESE = {str(path.relative_to(ROOT)): path for path in [*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/**/*.zh-CN.md")]}
ALL = {**WITH_COMMANDS, **CHINESE, "CHANGELOG.md": ROOT / "CHANGELOG.md"}
METER = ROOT / "local" / "runtime" / "limits.js"
# Files in which a name in capitals of the documents may occur: code, configuration, and the tools' own files.
NAMES = [
    path
    for folder in ("src", "local", "bench", "cli", "ops", "simulator", "tests", "mutation")
    for suffix in ("py", "mjs", "js", "sh", "toml", "json")
    for path in sorted((ROOT / folder).rglob(f"*.{suffix}"))
    if "node_modules" not in path.parts
] + [ROOT / name for name in ("Makefile", "wrangler.toml", ".dev.vars.example")]
# Names in capitals that belong to other programs, or to a feature that is planned and not built (decision 0037).
OF_OTHERS = {"OLLAMA_NUM_PARALLEL", "OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_QUEUE", "LD_PRELOAD", "DB_1", "DB_255"}


def test_every_submission_has_an_idempotency_key():
    submissions = [
        command
        for path in WITH_COMMANDS.values()
        for block in blocks(path)
        for command in commands(block)
        if re.search(r"/api/tasks(?![/\w?$])", command) and re.search(r"\s(-d|--data-binary)\s", command)
    ]
    assert len(submissions) >= 6
    assert not [command for command in submissions if "-H 'Idempotency-Key: " not in command]


def test_the_variables_of_the_documents_are_those_of_the_code():
    source = (ROOT / "src" / "kernel" / "domain" / "settings.py").read_text()
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|PLAN|PRICES)"', source))
    tables = (ROOT / "docs" / "configuration.md").read_text().partition("\n## Variables\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([A-Z_]+)` \|", tables, re.MULTILINE)
    assert read == set(listed)
    assert len(listed) == len(set(listed))


def test_the_limits_of_the_documents_are_those_of_the_code():
    page = (ROOT / "docs" / "limits.md").read_text()
    request = page.partition("\n## A request\n")[2].partition("\n## ")[0]
    for figure in (
        limits.INPUT_BYTES_DEFAULT,
        limits.INPUT_BYTES_MOST,
        limits.CHUNKS_MOST,
        limits.SENT_CHARS_MOST,
        limits.INSTRUCTIONS_CHARS_MOST,
        limits.MODEL_CHARS_MOST,
        limits.METADATA_BYTES_MOST,
        limits.DEADLINE_SECONDS_MOST,
        limits.MODEL_CALLS_MOST,
        limits.IDEMPOTENCY_KEY_CHARS_MOST,
        limits.WAIT_SECONDS_MOST,
        limits.LIST_LIMIT_MOST,
        limits.LIST_LIMIT_DEFAULT,
        limits.LIST_WALK_MOST,
    ):
        assert re.search(rf"(?<![\d,]){figure:,}(?!,?\d)", request), figure
    assert f"| API keys | {limits.KEYS_MOST} |" in page
    assert f"at most {limits.OUTPUT_CHARS_MOST:,} characters" in page


def test_the_meter_has_the_limits_of_the_platforms_page():
    plans = dict(
        re.findall(r"^  (free|paid): \{ (subrequests: \d+, statements: \d+) \}", METER.read_text(), re.MULTILINE)
    )
    page = (ROOT / "docs" / "limits.md").read_text()
    for what, shown, ours in (
        ("subrequests", "subrequests", limits.SUBREQUESTS),
        ("statements", "D1 statements", limits.STATEMENTS),
    ):
        found = {plan: int(re.findall(rf"{what}: (\d+)", line)[0]) for plan, line in plans.items()}
        assert f"| {found['free']:,}, {found['paid']:,} {shown} |" in page
        assert all(ours[plan] < found[plan] for plan in ("free", "paid"))


def test_every_call_that_a_document_names_is_in_the_api():
    known = {endpoint.path for endpoint in CATALOGUE.endpoints}
    segments = [re.sub(r"\{\w+\}", "*", path).split("/") for path in known]
    for name, document in ALL.items():
        for path in set(re.findall(r"(?<![\w.])/(?:api|v1)/[\w{}$…-][\w{}/$…-]*", document.read_text())):
            if path in ENDPOINTS and ("batches" in name or name == "docs/api.md"):
                continue
            parts = path.rstrip("/").split("/")
            is_known = any(
                len(parts) == len(one) and all(b in ("*", a) for a, b in zip(parts, one, strict=True))
                for one in segments
            )
            assert is_known, f"{name}: {path}"


def test_every_module_and_variable_that_a_document_names_is_there():
    code = "\n".join(path.read_text() for path in NAMES)
    for name, document in ALL.items():
        for words in re.findall(r"`([^`\n]+)`", document.read_text()):
            for module in re.findall(r"\bpython3? -m ((?:local|bench|tests|simulator|mutation)(?:\.\w+)*)", words):
                place = ROOT / module.replace(".", "/")
                assert place.is_dir() or place.with_suffix(".py").exists(), f"{name}: {module}"
            unknown = {word for word in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", words) if word not in code}
            assert unknown <= OF_OTHERS, f"{name}: {unknown}"


def test_every_path_that_the_documents_name_is_there():
    for name, document in ALL.items():
        if name == "docs/comparison.md":
            continue  # this document names files of other projects
        for path in re.findall(
            r"`([a-z_]+/[a-z0-9_/.-]+\.(?:py|mjs|sh|md|txt|sql|toml)|src/[a-z_/]+)`", document.read_text()
        ):
            places = (ROOT / path, ROOT / "src" / path, document.parent / path)
            assert any(place.exists() for place in places), f"{name}: {path}"


SECTION = "## Common errors\n"
CODE = re.compile(r"`(\w+)`:")


def operations() -> dict[str, Any]:
    """Return each call of `/openapi.json` by the heading that it has in docs/api.md."""
    described: Any = CATALOGUE.document
    return {
        f"{method.upper()} {path}": item[method]
        for path, item in described["paths"].items()
        for method in METHODS
        if method in item
    }


def rows(section: str) -> dict[str, set[str]]:
    return {
        status: set(CODE.findall(text)) for status, text in re.findall(r"^\| (\d{3}) \| (.*)$", section, re.MULTILINE)
    }


def test_every_error_of_every_call_is_on_the_page() -> None:
    text = page()
    common = rows(text.partition(SECTION)[2].partition("\n## ")[0])
    for heading, operation in operations().items():
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        shown = rows(section)
        for status in re.findall(r"\d{3}", section.partition("[Common errors](#common-errors):")[2]):
            shown[status] = shown.get(status, set()) | common[status]
        expected = {
            status: set(CODE.findall(response["description"])) for status, response in operation["responses"].items()
        }
        assert shown == expected, heading


DOCS = ROOT / "docs"


def test_the_diagram_is_the_table():
    text = (DOCS / "design" / "state-machine.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
    assert all(f"| {name} |" in text for name in TRANSITIONS)


def test_the_page_about_erasure_names_every_table():
    text = (DOCS / "data.md").read_text()
    schema = "".join(path.read_text("utf-8") for path in sorted((ROOT / "migrations").glob("*.sql")))
    tables = re.findall(r"^CREATE TABLE (\w+)", schema, re.MULTILINE)
    assert len(tables) > 20
    assert not [table for table in tables if f"`{table}`" not in text]


_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\n")
FILES = sorted(name for name in _LISTED if name and (ROOT / name).is_file())
DOCUMENTS = [name for name in FILES if name.endswith(".md")]
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@cache
def anchors(path: Path) -> set[str]:
    text = _CODE.sub("", path.read_text("utf-8"))
    found = set(re.findall(r'<a id="([^"]+)"></a>', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", heading.replace("[", ""))
        found.add(re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-"))
    return found


def leads_nowhere(place: Path, fragment: str) -> bool:
    return not place.exists() or bool(fragment and place.suffix == ".md" and fragment not in anchors(place))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text = _CODE.sub("", (ROOT / name).read_text("utf-8"))
    for target, fragment in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        place = (ROOT / name).parent / target if target else ROOT / name
        assert not leads_nowhere(place, fragment), f"{target}#{fragment}"


def test_every_document_that_a_file_names_is_there() -> None:
    """Those that code, a message or a comment names; landed migrations name numbers alone."""
    for name in FILES:
        if name.endswith(".md") or name.startswith("docs/"):
            continue
        text = (ROOT / name).read_bytes().decode("utf-8", "ignore")
        for target, fragment in re.findall(r"\b(docs/[\w/.-]+\.md)(?:#([\w-]+))?", text):
            assert not leads_nowhere(ROOT / target, fragment), f"{name}: {target}#{fragment}"


def test_every_decision_has_its_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [
        number
        for page in pages
        for number in re.findall(r'^<a id="d(\d{4})"></a>\n\n## \1: \S', page.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(numbers) == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert len(numbers) == sum(len(re.findall("^## ", page.read_text("utf-8"), re.MULTILINE)) for page in pages)
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert {number for number in numbers if f"#d{number})" not in index} == set()


HOMES = ("performance.md", "costs.md", "limits.md")
# Records of their own time, and pages whose figures other tests compare with those of the homes.
APART = ("decisions", "releases", "costs.md", "api.md")
LIMITS = (ROOT / "src/kernel/domain/limits.py").read_text("utf-8")
OF_THE_CODE = {f"{int(number.replace('_', '')):,}" for number in re.findall(r"\d[\d_]+", LIMITS)}
FIGURE = re.compile(r"(?<![\w.,/·-])(?:\d{1,3}(?:,\d{3})+|\d+\.\d+)(?![\w.,]*\d)")
NOT_MEASURED = re.compile(
    r"^```.*?^```|\]\([^)]*\)|(?:wrangler|workerd|Pyodide|Python|Node\.js) \d[\d.]*", re.DOTALL | re.MULTILINE
)
# What costs.md computes with.
COINCIDENCES = {"performance.md": {"2.71"}}
PAGES = [
    path.relative_to(DOCS)
    for path in sorted(DOCS.rglob("*.md"))
    if not path.name.endswith(".zh-CN.md") and not set(path.relative_to(DOCS).parts) & set(APART)
]


def figures(page: Path) -> set[str]:
    """Return the figures of a page with at least three digits that count, without limits of the code and versions."""
    found = FIGURE.findall(NOT_MEASURED.sub("", (DOCS / page).read_text("utf-8")))
    return {one for one in found if len(one.replace(",", "").replace(".", "").strip("0")) >= 3} - OF_THE_CODE


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_measured_figure_stands_on_one_page(page: Path) -> None:
    """No page repeats a figure of the pages on performance, costs and limits; it links there."""
    for home in HOMES:
        if page.name != home:
            repeated = figures(page) & figures(Path(home)) - COINCIDENCES.get(page.name, set())
            assert not repeated, f"{page} repeats figures of {home}: link there"


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_a_readme_has_the_figures_of_their_pages(readme: str) -> None:
    assert figures(ROOT / readme) <= set().union(*(figures(DOCS / home) for home in HOMES))


def test_each_count_of_the_claims_comes_from_a_program() -> None:
    text = (ROOT / claims_page.CLAIMS).read_text("utf-8")
    assert set(re.findall(r"\{(\w+)\}", text)) == set(claims_page.counts())
    table = (
        (DOCS / "verification" / "claims.md")
        .read_text("utf-8")
        .partition(claims_page.BEGIN)[2]
        .partition(claims_page.END)[0]
    )
    assert not re.search(r"\{\w+\}", table)
    assert f"refuses in {claims_page.counts()['refusals']} ways" in " ".join(
        (DOCS / "guide.md").read_text("utf-8").split()
    )

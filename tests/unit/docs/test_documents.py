"""What the documents say about the code is true: its make targets, variables, limits and paths."""

import re

from src.composition import CATALOGUE
from src.features.batches.lines.lines import ENDPOINTS
from src.kernel.domain import limits
from tests.support.shell_blocks import ROOT, blocks, commands, documents

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

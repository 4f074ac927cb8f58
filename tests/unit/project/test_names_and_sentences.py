"""Each name stands for one thing, and few sentences have words that mark a riddle, so strangers understand both."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Words that mark a sentence that few readers can restate. In each folder only a limited number of words may match.
_RIDDLES = re.compile(
    r"\b(?:nobody|whoever|of which|for whom|(?:is|are) told|comes to|ha(?:s|ve) come|h[oe]lds? to|meanwhile|thereby"
    r"|at that|so that is)\b",
    re.IGNORECASE,
)
RIDDLES_MOST = {"src": 12, "simulator": 30, "cli": 12, "local": 8, "docs": 5}
_SENTENCES = {".py", ".md", ".js", ".mjs", ".sql", ".toml"}
_EXPORTED = re.compile(r"^export (?:default )?(?:async )?(?:class|function\*?|const|let) (\w+)", re.MULTILINE)
_CLASS = re.compile(r"^class ([A-Za-z]\w*)", re.MULTILINE)


def files_of(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if "/vendor/" not in name and (ROOT / name).is_file()]


def twins(names: list[str], pattern: re.Pattern[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for defined in pattern.findall((ROOT / name).read_text("utf-8")):
            found[defined].append(name)
    assert len(found) > 50
    return {defined: where for defined, where in found.items() if len(where) > 1}


def test_no_two_classes_have_one_name() -> None:
    names = [name for name in files_of("src", "cli", "local", "ops", "simulator") if name.endswith(".py")]
    assert twins(names, _CLASS) == {}


def test_no_two_modules_of_the_page_export_one_name() -> None:
    assert twins([name for name in files_of("public/app") if name.endswith(".js")], _EXPORTED) == {}


def test_riddles_stay_few() -> None:
    for folder, most in RIDDLES_MOST.items():
        names = [name for name in files_of(folder) if Path(name).suffix in _SENTENCES and ".zh-CN." not in name]
        found = [f"{name}: {word[0]}" for name in names for word in _RIDDLES.finditer((ROOT / name).read_text("utf-8"))]
        assert len(found) <= most, found

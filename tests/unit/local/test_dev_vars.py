"""The lines of `.dev.vars` that set no variable, and the variables that the Worker does not read."""

from pathlib import Path

import pytest

from local.configuration import LocalConfiguration, examine
from local.dev_vars import SecretsFile, find


@pytest.mark.parametrize(
    ("text", "names", "faults"),
    [
        ("A=1\nexport B = 2\nC: 3\nD=\n", {"A", "B", "C", "D"}, []),
        ("# A=1\n  # note\n\nA=1 # note\n", {"A"}, []),
        ("A='one\ntwo'\nB=\"x # y\"\n", {"A", "B"}, []),
        ("A\nB=1\n", {"B"}, [1]),
        ("A B=1\n", set(), [1]),
        ("A='one\ntwo\nB=1", {"A", "B"}, [1, 2]),
        ("A=1\r\nB\r\n", {"A"}, [2]),
        ("A='", {"A"}, [1]),
    ],
)
def test_lines_that_set_nothing_are_named_by_number(text: str, names: set[str], faults: list[int]) -> None:
    file = SecretsFile(".dev.vars", text.replace("\r\n", "\n"))
    assert file.names == names
    assert [int(fault.split()[1]) for fault in file.faults()] == faults


def test_the_file_is_the_one_that_wrangler_reads(tmp_path: Path) -> None:
    assert find(tmp_path, "free") is None
    for name in (".env", ".dev.vars", ".dev.vars.free"):
        (tmp_path / name).write_text("A=1\r\nB=2\r\n")
        found = find(tmp_path, "free")
        assert found is not None
        assert (found.name, found.text, found.is_shared) == (name, "A=1\nB=2\n", name == ".env")
    other = find(tmp_path, None)
    assert other is not None
    assert other.name == ".dev.vars"


def host(**variables: object) -> LocalConfiguration:
    return LocalConfiguration(
        variables=variables, flags={}, bindings=["DB", "AI_QUEUE"], limits="off", persist_to="/state"
    )


def test_a_value_is_never_repeated() -> None:
    value = "two words, maybe a secret"
    file = SecretsFile(".dev.vars", f"AI_API_KEY={value}\n{value}\n")
    found = examine(host(AI_API_KEY=value, AI_API_KEYS=value), file)
    assert (len(found.faults), len(found.warnings)) == (2, 1)
    assert value not in " ".join((*found.faults, *found.warnings))

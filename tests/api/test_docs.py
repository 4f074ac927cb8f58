"""The generated documents match the code, and `make docs` writes them."""

from pathlib import Path

import pytest

from local import claims_page, docs
from local.node import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in (*docs.generated(ROOT), claims_page.CLAIMS):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def test_page_is_current() -> None:
    assert (ROOT / docs.API).read_text(encoding="utf-8") == docs.generated(ROOT)[docs.API]


def test_every_generated_document_is_current() -> None:
    assert docs.outdated(ROOT) == {}


@pytest.mark.parametrize(
    ("path", "word"), [(docs.API, "pending"), (docs.STATE_MACHINE, "pending"), (docs.VERIFICATION, "bill")]
)
def test_a_document_that_is_not_current_is_told_and_mended(
    path: Path, word: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current = (copy / path).read_text(encoding="utf-8")
    spoilt = current.replace(word, "waiting")
    (copy / path).write_text(spoilt, encoding="utf-8")

    assert docs.main(["--check"], copy) == 1
    assert f"error: {path} is not current; run `make docs`" in capsys.readouterr().err
    assert (copy / path).read_text(encoding="utf-8") == spoilt

    assert docs.main([], copy) == 0
    assert capsys.readouterr().out == f"Wrote {path}\n"
    # The generator restores the diagram and the table, and keeps a change to the prose around them.
    assert docs.outdated(copy) == {}
    if path == docs.API:
        assert (copy / path).read_text(encoding="utf-8") == current

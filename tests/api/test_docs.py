"""The generated documents match the code, and `make docs` writes them."""

from pathlib import Path

import pytest

from local import claims_page, docs
from local.node import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    reports = (path.relative_to(ROOT) for path in (ROOT / claims_page.REPORTS).glob("*.json"))
    for path in (*docs.generated(ROOT), claims_page.CLAIMS, *reports):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def test_every_generated_document_is_current() -> None:
    assert docs.outdated(ROOT) == {}


@pytest.mark.parametrize(
    ("path", "word"), [(docs.API, "pending"), (docs.STATE_MACHINE, "pending"), (docs.CLAIMS, "bill")]
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


def test_the_page_names_the_last_report_and_the_earlier_ones(copy: Path) -> None:
    reports = copy / claims_page.REPORTS
    reports.mkdir(exist_ok=True)
    for version, date in (("0.9.0", "2027-01-01"), ("0.10.0", "2027-02-01")):
        (reports / f"{version}.json").write_text(f'{{"date": "{date}"}}', encoding="utf-8")
    docs.main([], copy)
    section = (copy / docs.VERIFICATION).read_text(encoding="utf-8").partition("## The last report\n\n")[2]
    assert section.startswith("[0.10.0](releases/0.10.0.md) (2027-02-01): two minutes to read. Earlier ones: [0.9.0](")

"""The pytest plugin that checks a mutant: it limits the child process, and reports the first failure."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from mutation import child


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int, int]:
    """Report what the session finds."""
    with child.reporting() as report:
        config.stash[REPORT] = report
        return (yield)


REPORT = pytest.StashKey[child.Report]()


def pytest_configure(config: pytest.Config) -> None:
    """Prevent leftovers that would affect the next mutant, and failures only because a text has changed."""
    child.spare_ablations()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let property tests draw the same examples for each mutant."""
    settings.register_profile("mutation", settings(), database=None, derandomize=True)
    settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try fewer examples in modules that set a number for them."""
    if os.environ.get(child.QUICK):
        for module in {item.getparent(pytest.Module) for item in items}:
            if module is not None and hasattr(module.obj, "RUNS"):
                module.obj.RUNS = min(module.obj.RUNS, child.RUNS_QUICK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a test that fails."""
    report = yield
    _note(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Note a module that cannot be imported."""
    report = yield
    _note(collector.config, report)
    return report


def _note(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        config.stash[REPORT].fail(report.nodeid, crash.message if crash else str(report.longrepr)[-300:])

"""The pytest plugin that checks a mutant: it limits the child process, and reports the first failure."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from mutation import child


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int, int]:
    """Limit the process, and write its report after the session."""
    with child.reporting() as report:
        config.stash[REPORT] = report
        return (yield)


REPORT = pytest.StashKey[child.Report]()


def pytest_configure(config: pytest.Config) -> None:
    """Prevent failures whose only cause is a changed text of an ablation."""
    child.spare_ablations()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let property tests draw the same examples for each mutant, and store no examples."""
    settings.register_profile("mutation", settings(), database=None, derandomize=True)
    settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the modules that set a number of examples in `RUNS` try fewer examples in the quick suite."""
    if os.environ.get(child.QUICK):
        for module in {item.getparent(pytest.Module) for item in items}:
            if module is not None and hasattr(module.obj, "RUNS"):
                module.obj.RUNS = min(module.obj.RUNS, child.RUNS_QUICK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record a failure of a test in the report."""
    report = yield
    _note(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Record in the report that a module of tests cannot be imported."""
    report = yield
    _note(collector.config, report)
    return report


def _note(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        config.stash[REPORT].fail(report.nodeid, crash.message if crash else str(report.longrepr)[-300:])

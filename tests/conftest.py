"""Settings for all tests."""

import gc
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from simulator import figures
from tests.support import order
from tests.support.tiers import Tier, sized, tier

# A shell without job control starts background processes that ignore Ctrl-C, and the processes that tests start would
# inherit the ignored interrupt. The next lines of code restore Python's default handler of the interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The servers that tests start use a clock like Cloudflare's, which stands still while code runs. With `make test
# CLOCK=moving` these servers use a moving clock.
os.environ.setdefault("ONCEOVER_LOCAL_CLOCK", "standing")

# Most servers of tests live for seconds. V8 would spend a tenth to a quarter of their processor time on compiling
# Python's WebAssembly a second time, for speed that comes too late. The campaign runs V8 as users do.
if tier() != "campaign":
    os.environ.setdefault("MINIFLARE_WORKERD_V8_FLAGS", "--liftoff-only")

# Programs that tests start keep no figures: the figures of a part of the campaign are those of its tests.
FIGURES = os.environ.pop(figures.VARIABLE, "")

# httpx's default timeout is 5 s. A busy machine may need more time for an answer, so the default time limit of HTTP
# clients is raised.
for phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 60.0)

# Hypothesis runs without deadlines, because a deadline would depend on the machine's load. Tests that check a time set
# bounds of their own.
settings.register_profile(
    "onceover", deadline=None, print_blob=True, max_examples=sized(quick=25, test=100, campaign=1_000)
)
settings.load_profile("onceover")

# A test fails if it takes longer than the bound of its tier, fixtures included. On an idle machine, the slowest test of
# each tier takes a third of the bound, so the tests also pass on a busy machine.
SECONDS_MOST = {"quick": 60, "test": 300, "campaign": 3_600}
_QUICK = {"unit", "property", "api"}


def tier_of(item: pytest.Item) -> Tier:
    if tier() == "campaign" or item.get_closest_marker("campaign"):
        return "campaign"
    is_quick = item.path.relative_to(Path(__file__).parent).parts[0] in _QUICK and not item.get_closest_marker("slow")
    return "quick" if is_quick and tier() == "quick" else "test"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: what tests make then stays for the whole run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the time limit of each test that has none, by its tier. Order what several processes share."""
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS_MOST[tier_of(item)]))
    if hasattr(config, "workerinput"):
        order.sort(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Keep how many tests passed, failed and were skipped, and how many missing safeguards they noticed."""
    if not FIGURES:
        return
    passed, failed = terminalreporter.getreports("passed"), terminalreporter.getreports("failed")
    kept = {"passed": len(passed), "failed": len(failed), "skipped": len(terminalreporter.getreports("skipped"))}
    noticed, unnoticed = (sum("_is_missing_is_noticed[" in one.nodeid for one in told) for told in (passed, failed))
    Path(FIGURES).write_text(json.dumps({**kept, "ablations": noticed + unnoticed, "noticed": noticed}), "utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> order.ByModule | None:
    return order.ByModule(config, log) if config.getoption("dist") == "loadscope" else None

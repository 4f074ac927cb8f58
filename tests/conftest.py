"""Settings for all tests."""

import os
import signal
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from tests.support.tiers import Tier, sized, tier

# A shell without job control starts background processes that ignore Ctrl-C. All processes of a test would inherit an
# ignored interrupt, so the default handler is set.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers of tests use a clock like Cloudflare's, which stands still while code runs. `make test CLOCK=moving` uses the
# moving clock.
os.environ.setdefault("ONCEOVER_LOCAL_CLOCK", "standing")

# A call without a timeout of its own has httpx's 5 s. A busy machine may need more time for an answer.
for phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 60.0)

# A deadline of hypothesis would measure the machine, not the code. A test of a time sets its own bound.
settings.register_profile(
    "onceover", deadline=None, print_blob=True, max_examples=sized(quick=25, test=100, campaign=1_000)
)
settings.load_profile("onceover")

# A test fails if it takes longer than its tier allows, fixtures included. On idle cores the slowest test of each tier
# takes a third of its limit, so a busy machine passes too.
SECONDS_MOST = {"quick": 60, "test": 300, "campaign": 3_600}
_QUICK = {"unit", "property", "api"}


def tier_of(item: pytest.Item) -> Tier:
    """The tier whose bound applies to a test. Some tests of `make quick` draw more in `make test`."""
    if item.get_closest_marker("campaign"):
        return "campaign"
    is_quick = item.path.relative_to(Path(__file__).parent).parts[0] in _QUICK and not item.get_closest_marker("slow")
    return "quick" if is_quick and tier() == "quick" else "test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit the time of each test by its tier."""
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS_MOST[tier_of(item)]))

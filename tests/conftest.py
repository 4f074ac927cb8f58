"""Settings for all tests."""

import os
import signal
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from tests.support.tiers import Tier, sized, tier

# A shell without job control makes background processes ignore Ctrl-C. All processes of a test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers of tests have Cloudflare's clock, which stands still while code runs. `make test CLOCK=moving` has the other.
os.environ.setdefault("ONCEOVER_LOCAL_CLOCK", "standing")

# A call that names no timeout has httpx's 5 s. A busy machine may need as long for an answer.
for phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 60.0)

# A deadline measures the machine, not the code. Where time matters a test says so itself.
settings.register_profile(
    "onceover", deadline=None, print_blob=True, max_examples=sized(quick=25, test=100, campaign=1_000)
)
settings.load_profile("onceover")

# A test that takes longer than its tier allows, its fixtures included, fails. On idle cores the slowest of each takes a
# third of that, so that a busy machine passes.
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

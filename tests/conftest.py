"""What holds for all tests."""

import os
import signal

from hypothesis import settings

# A shell without job control starts what runs in the background deaf to Ctrl-C, and so would be all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers that tests start have Cloudflare's clock, which stands still while code runs.
# `make test CLOCK=moving` has the other.
os.environ.setdefault("ONCEOVER_LOCAL_CLOCK", "standing")

# A deadline measures the machine, not the code; where time matters a test says so itself.
settings.register_profile("onceover", deadline=None, print_blob=True)
settings.load_profile("onceover")

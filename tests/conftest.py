"""What holds for all tests."""

from hypothesis import settings

# A deadline measures the machine, not the code; where time matters a test says so itself.
settings.register_profile("onceover", deadline=None, print_blob=True)
settings.load_profile("onceover")

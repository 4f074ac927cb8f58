"""The kernel stands alone: without features its tests pass, and simulated schedules keep all promises."""

import pytest

from tests import kernel_alone


@pytest.mark.slow
@pytest.mark.parametrize("part", kernel_alone.PARTS)
def test_the_kernel_stands_without_features(part: str):
    """No kernel module, no test of the kernel, and no module of the simulation that runs needs a feature."""
    assert kernel_alone.main([part]) == 0

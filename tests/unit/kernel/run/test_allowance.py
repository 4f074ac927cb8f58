"""What an invocation may still spend, so that it can record what its calls give and end its run."""

import pytest

from src.kernel.domain.meter import Meter
from src.kernel.run.allowance import Allowance

# Answers of one group in parts cost up to 6 subrequests, and 6 writes of 3 statements. For its end a run keeps 3
# subrequests and 9 statements.
SUBREQUESTS, STATEMENTS = 6 + 3, 6 * 3 + 9


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("lacking_subrequests", "lacking_statements"), [(0, 0), (1, 0), (0, 1)])
def test_answers_come_in_parts_only_if_they_leave_enough_for_the_end_of_the_run(
    groups: int, lacking_subrequests: int, lacking_statements: int
) -> None:
    meter = Meter()
    more = groups - 1
    allowance = Allowance(60, SUBREQUESTS + 6 * more, STATEMENTS + 18 * more, meter, 0)
    with meter.reserved(lacking_subrequests, lacking_statements):
        assert allowance.allows_parts(groups) is (lacking_subrequests == lacking_statements == 0)

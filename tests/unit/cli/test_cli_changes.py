"""`onceover retry`, `cancel` and `delete` of many tasks: where each stops, and what it reports then."""

import json

import pytest

from tests.support.fake_api import LOST, TASK_ID, Answer, Asked, FakeApi, Json, Reply, problem, task
from tests.unit.cli.test_cli_commands import Runs, conforms

RETRY, CANCEL = "/api/tasks/retry", "/api/tasks/cancel"
OTHER, THIRD = "01a213be-0000-762c-b9e4-99bccab77cf8", "01a213be-1111-762c-b9e4-99bccab77cf8"
IDS = (TASK_ID, OTHER, THIRD)


def pages(tasks: int, *replies: Reply) -> Reply:
    """Answer the dry run with `tasks` tasks, then with each reply in turn, and on with the last."""
    left = list(replies)

    def answer(asked: Asked) -> Answer | Json | str:
        if asked.body.get("dryRun"):
            return {"tasks": tasks, "minimumCalls": tasks, "maximumCalls": 3 * tasks, "more": False}
        reply = left.pop(0) if len(left) > 1 else left[0]
        assert not callable(reply)
        return reply

    return answer


def rounds(fake: FakeApi) -> int:
    """Count the bulk retry requests that were no dry run."""
    return sum(not asked.body.get("dryRun") for asked in fake.requests("POST", RETRY))


def test_all_failed_tasks_are_put_back_in_as_many_requests_as_it_takes(fake: FakeApi, run: Runs) -> None:
    fake.on("POST", RETRY, pages(107, {"retried": 100, "more": True}, {"retried": 7, "more": False}))
    assert run("retry", "--failed")[:2] == (0, "107 tasks retried\n")
    fake.on("POST", RETRY, pages(5, {"retried": 0, "more": True}))
    status, out, _ = run("retry", "--failed", "-o", "json")
    assert (status, json.loads(out)) == (0, {"retried": 0, "more": True})
    fake.on("POST", RETRY, pages(0, problem(500, "must_not_be_asked")))
    assert run("retry", "--failed")[:2] == (0, "0 tasks retried\n")


def test_tasks_that_fail_again_at_once_are_put_back_once(fake: FakeApi, run: Runs) -> None:
    """If retried tasks fail again at once, the server would find failed tasks for ever."""
    endless = [{"retried": 100, "more": True}] * 9
    fake.on("POST", RETRY, pages(250, *endless, problem(500, "never_ended")))
    status, out, _ = run("retry", "--failed", "-o", "json")
    assert (status, conforms("retry-failed", out)) == (0, {"retried": 300, "more": True})
    assert rounds(fake) == 3


@pytest.mark.parametrize("trouble", [LOST, problem(401, "unauthenticated"), problem(429, "task_limit_reached")])
def test_a_later_page_that_fails_loses_nothing(trouble: Reply, fake: FakeApi, run: Runs) -> None:
    """The document counts what was put back, and the status is 1, because others were not."""
    fake.on("POST", RETRY, pages(250, {"retried": 100, "more": True}, trouble))
    status, out, err = run("retry", "--failed", "-o", "json")
    assert (status, conforms("retry-failed", out)) == (1, {"retried": 100, "more": True})
    assert err.startswith("error: ")
    fake.on("POST", RETRY, pages(250, trouble))
    assert run("retry", "--failed", "-o", "json")[:2] == (1, "")


def test_all_that_go_on_are_cancelled_in_as_many_requests_as_it_takes(fake: FakeApi, run: Runs) -> None:
    """It takes a request for each hundred of the dry run's tasks."""
    endless = [{"cancelled": 100, "more": True}] * 9
    fake.on("POST", CANCEL, pages(107, *endless))
    status, out, err = run("cancel", "--all", "--status", "pending")
    assert (status, out) == (0, "200 tasks cancelled\n")
    assert "There are more unfinished tasks" in err
    asked = [one.body for one in fake.requests("POST", CANCEL)]
    assert asked == [{"status": "pending", "dryRun": True}, {"status": "pending"}, {"status": "pending"}]
    fake.on("POST", CANCEL, pages(107, {"cancelled": 100, "more": True}, LOST))
    status, out, _ = run("cancel", "--all", "-o", "json")
    assert (status, conforms("cancel-all", out)) == (1, {"cancelled": 100, "more": True})


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (LOST, "unreachable"),
        (problem(401, "unauthenticated"), "unauthenticated"),
        (problem(403, "forbidden"), "forbidden"),
    ],
)
def test_what_stops_the_others_keeps_what_was_done(trouble: Reply, code: str, fake: FakeApi, run: Runs) -> None:
    fake.on("DELETE", f"/api/tasks/{TASK_ID}", Answer(204)).on("DELETE", f"/api/tasks/{OTHER}", trouble)
    status, out, err = run("delete", *IDS, "-o", "json")
    document = conforms("delete", out)
    assert status == 1
    assert document["deleted"] == [TASK_ID]
    assert [(one["id"], one["code"]) for one in document["refused"]] == [(OTHER, code)]
    assert "1 more was not tried" in err
    assert not fake.requests("DELETE", f"/api/tasks/{THIRD}")
    fake.on("POST", f"/api/tasks/{TASK_ID}/retry", Answer(202, task("pending")))
    fake.on("POST", f"/api/tasks/{OTHER}/retry", trouble)
    assert run("retry", *IDS)[:2] == (1, f"{TASK_ID}\n")

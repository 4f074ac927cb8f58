"""A failed first deployment names only commands that exist by then, and none that needs an earlier version."""

import re
from pathlib import Path

import pytest

from local.node import ROOT
from local.remote.account import needs
from local.remote.cloud import StepFailed
from local.remote.deploy import Shape, deploy
from local.remote.deploy_check import DeploymentReply, Web
from local.remote.fixes import FIXES
from tests.support.cloud_account import CloudAccount

NOT_FOUND = DeploymentReply(404, {}, "error code: 1042")


def nowhere() -> Web:
    """A network in which nothing answers, and whose clock moves while the code pauses."""
    passed: list[float] = []
    return Web(lambda _url: NOT_FOUND, lambda: sum(passed), passed.append)


@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_a_first_deployment_that_does_not_answer_names_no_version_before(env: str, tmp_path: Path) -> None:
    """A failed first deployment does not tell the user to go back, since no earlier version exists."""
    account = CloudAccount(tmp_path / "account.json")
    for fix, back in (("first-not-verified", 0), ("not-verified", 1)):
        lines: list[str] = []
        with pytest.raises(StepFailed) as failed:
            deploy(account, nowhere(), needs(ROOT, env), Shape(), lines.append)
        assert failed.value.fix is FIXES[fix]
        assert sum("to roll back to the previous one: npx wrangler rollback" in line for line in lines) == back


def test_every_command_that_a_fix_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    marked = [mark for fix in FIXES.values() for mark in re.findall(r"`([^`]+)`", fix.text)]
    assert {mark.split()[1] for mark in marked if mark.startswith("make ")} <= targets
    assert [mark for mark in marked if mark.startswith("sh ") and not (ROOT / mark.split()[1]).is_file()] == []
    pages = {page for fix in FIXES.values() for page in re.findall(r"docs/[a-z-]+\.md", fix.text)}
    assert [page for page in pages if not (ROOT / page).is_file()] == []

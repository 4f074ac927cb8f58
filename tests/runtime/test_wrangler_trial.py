"""The real wrangler deploys to a stand-in for Cloudflare's API; `python -m tests.wrangler_trial`: all."""

from pathlib import Path

import pytest

from local import key
from src.kernel.domain.keys import parse
from tests.support.cloudflare_api import CloudflareApi
from tests.support.deployed import QUEUES
from tests.wrangler_trial import deploy_once, environment

pytestmark = [pytest.mark.runtime, pytest.mark.campaign]


def test_wrangler_itself_takes_the_three_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    with CloudflareApi() as api:
        for name, value in environment(api, tmp_path).items():
            monkeypatch.setenv(name, value)
        said: list[str] = []
        assert deploy_once(api, "", said) == []
        assert sorted(api.created) == sorted(
            ["database onceover", "bucket onceover-files", *(f"queue {name}" for name in QUEUES)]
        )
        assert said[-1] == "Deployed: https://onceover.example.workers.dev"
        assert f"    version {api.worker['live']} is deployed" in said
        assert "    start-up took 9 ms of CPU; Cloudflare allows 1000" in said
        printed = capfd.readouterr().out
        assert "0001_initial.sql" in printed
        assert "Vendored Modules" not in printed
        assert key.main(["--remote"]) == 0
        made = parse(capfd.readouterr().out.strip())
        assert made is not None
        (row,) = api.databases["onceover"].execute("SELECT id FROM api_keys")
        assert row["id"] == made.id

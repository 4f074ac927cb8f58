"""A submission to `/v1/responses` that an SDK repeats (by its retry count) joins the first; equal ones are two."""

from typing import Any

import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from tests.support.api_bench import ApiBench, bearer, data
from tests.support.sqlite_d1 import NETWORK_LOST

BODY = {"background": True, "input": "one\n\ntwo\n\nthree and four", "metadata": {"a": "1"}}
MOST = limits.RESEND_SECONDS_MOST


def post(bench: ApiBench, count: object = None, body: object = BODY, **headers: str) -> Reply:
    said = {} if count is None else {"x-stainless-retry-count": str(count)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return bench.call("POST", "/v1/responses", body, said | named)


def name(reply: Reply) -> str:
    assert reply.status == 200, reply
    found: str = data(reply)["id"]
    return found


def joined(reply: Reply) -> bool:
    assert reply.status == 200, reply
    return reply.headers.get("Idempotency-Replayed") == "true"


def rows(bench: ApiBench) -> tuple[int, int]:
    counts = [len(bench.database.rows(f"SELECT * FROM {table}")) for table in ("tasks", "submissions")]  # noqa: S608
    return counts[0], counts[1]


def test_a_repetition_finds_its_task(bench: ApiBench) -> None:
    first = post(bench, 0)
    again, once_more = post(bench, 1), post(bench, 2)
    assert [name(again), name(once_more)] == [name(first)] * 2
    assert [joined(reply) for reply in (first, again, once_more)] == [False, True, True]
    assert bench.senders[0].sent == [name(first).removeprefix("resp_")]
    assert rows(bench) == (1, 1)


@pytest.mark.parametrize("count", [None, 0, "0", "", "-1", "1.5", "many", "٣", "9999"])
def test_what_is_no_repetition_joins_nothing(bench: ApiBench, count: object) -> None:
    first, second = post(bench, count), post(bench, count)
    assert name(first) != name(second)
    assert not joined(second)
    assert rows(bench) == (2, 2)


def test_another_body_joins_nothing(bench: ApiBench) -> None:
    """A repetition joins only an equal body, whatever the order of names and the spaces."""
    first = post(bench, 0)
    assert name(post(bench, 1, BODY | {"input": "other"})) != name(first)
    turned = {field: BODY[field] for field in reversed(BODY)}
    assert name(post(bench, 1, turned)) == name(first)


@pytest.mark.parametrize(
    ("headers", "count", "seconds"),
    [
        ({}, 1, 730.0),
        ({}, 2, MOST),
        ({"x-stainless-read-timeout": "20"}, 1, 150.0),
        ({"x-stainless-read-timeout": "20.5"}, 2, 301.0),
        ({"x-stainless-timeout": "60"}, 1, 190.0),
        ({"x-stainless-timeout": "60"}, 3, 570.0),
        ({"x-stainless-read-timeout": "none"}, 1, 730.0),
        ({"x-stainless-read-timeout": "100000"}, 1, MOST),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_the_window(bench: ApiBench, headers: dict[str, str], count: int, seconds: float, late: bool) -> None:
    """A repetition joins what is younger than its count times the SDK's timeout plus 130 s, at most 20 minutes."""
    first = post(bench, 0)
    bench.pass_seconds(seconds + (0.01 if late else -0.01))
    again = bench.call("POST", "/v1/responses", BODY, {"x-stainless-retry-count": str(count)} | headers)
    assert (name(again) == name(first)) == (not late)


def test_a_key_settles_it(bench: ApiBench) -> None:
    first = post(bench, 0, idempotency_key="mine")
    assert name(post(bench, 1)) != name(first)
    bench.pass_seconds(MOST + 1)
    assert name(post(bench, 0, idempotency_key="mine")) == name(first)
    other = post(bench, 1, BODY | {"input": "other"}, idempotency_key="mine")
    assert (other.status, data(other)["error"]["code"]) == (422, "idempotency_mismatch")


def test_no_key_of_a_client_is_a_row_of_joining(bench: ApiBench) -> None:
    post(bench, 0)
    ((row,),) = [bench.database.rows("SELECT id FROM submissions")]
    taken = row["id"].removeprefix("local:")
    refused = post(bench, 0, idempotency_key=taken)
    assert (refused.status, data(refused)["error"]["code"]) == (400, "bad_idempotency_key")


def test_keys_do_not_join(bench: ApiBench) -> None:
    keyed = ApiBench(keys=True)
    mine, second, theirs = keyed.make_key(), keyed.make_key(), keyed.make_key(tenant="other")
    first = post(keyed, 0, **bearer(mine))
    assert name(post(keyed, 1, **bearer(second))) != name(first)
    assert name(post(keyed, 1, **bearer(theirs))) != name(first)
    assert name(post(keyed, 1, **bearer(mine))) == name(first)
    keyed.close()


def written(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, send: Any) -> int:
    """Count the rows that a submission writes, with index entries, by D1's rules."""
    rows: list[int] = []
    batch = bench.database.batch

    async def counted(statements: Any) -> Any:
        results = await batch(statements)
        rows.extend(result["meta"]["rows_written"] for result in results)  # type: ignore[index]
        return results

    monkeypatch.setattr(bench.database, "batch", counted)
    send()
    monkeypatch.undo()
    return sum(rows)


def test_what_it_costs(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission to `/v1` writes one row more than a native one, as many as one with a key."""
    native = written(bench, monkeypatch, bench.submit)
    assert written(bench, monkeypatch, lambda: post(bench, 0)) == native + 1
    assert written(bench, monkeypatch, lambda: post(bench, 1)) == 1
    assert written(bench, monkeypatch, lambda: post(bench, 0, idempotency_key="one")) == native + 1


@pytest.mark.parametrize("sends", range(1, limits.STORE_SENDS))
@pytest.mark.parametrize("when", ["after", "later"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_write_that_is_sent_again(bench: ApiBench, count: int, when: Any, sends: int) -> None:
    first = name(post(bench, 0)) if count else None
    bench.database.fail(NETWORK_LOST, when, sends)
    found = name(post(bench, count))
    bench.run(bench.database.land())
    assert rows(bench) == (1, 1)
    assert found == (first or found)
    assert name(post(bench, count + 1)) == found

"""Property tests of joining a client's repeated requests, with lost answers, lost requests and late writes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.domain.ids import LOCAL, new_task_id, task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Reduce
from src.kernel.store import resend
from src.kernel.store.admission import Accepted, Conditions, Replayed
from src.kernel.store.d1 import Database, Statement, statement
from src.kernel.store.resend import Resend
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import NETWORK_LOST, SqliteD1
from tests.support.store_bench import LEASE_MS, START_MS, new_task
from tests.support.tiers import sized

# What may happen to a request: its answer arrives; its answer is lost; the request is lost; its Worker dies, and its
# write lands at the next `land`.
Fate = Literal["answered", "lost", "never", "late"]
SENDINGS_MOST = 3
LAND = -1
WINDOW_MS = 1_000_000

fates: st.SearchStrategy[Fate] = st.sampled_from(("answered", "lost", "lost", "never", "late", "late"))
in_time: st.SearchStrategy[Fate] = st.sampled_from(("answered", "lost", "lost", "never"))
# A step of a script is a client with what happens to its next request, or LAND.
events = st.lists(st.tuples(st.integers(LAND, 2), fates), max_size=14)


class Deployment:
    """A store and its clients by number. A client's sends are a second apart."""

    def __init__(self) -> None:
        self.loop = Loop(max_steps=10_000_000)  # type: ignore[abstract]
        self.now_ms = START_MS
        self.database = SqliteD1(now_ms=lambda: self.now_ms)
        self.store = task_store(Database(self.database, Meter()))
        self.sent: Counter[int] = Counter()
        self.came: set[int] = set()  # The numbers of the clients of which at least one request has arrived.
        self.told: dict[int, str] = {}  # The answers, by client.
        self._made = 0

    def close(self) -> None:
        self.loop.close()
        self.database.close()

    def send(self, client: int, fate: Fate) -> None:
        count = self.sent[client]
        if client in self.told or count == SENDINGS_MOST:
            return
        self.now_ms += 1000
        self.sent[client] += 1
        self._made += 1
        if fate == "never":
            return
        self.came.add(client)
        key = task_key_of(LOCAL, new_task_id(self.now_ms, self._made.to_bytes(10)))
        on = Conditions(resend=Resend("key body", count, WINDOW_MS if count else 0))
        if fate == "late":
            self.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS)
        try:
            outcome = self.loop.run_until_complete(
                self.store.insert(new_task(key, 1, Reduce.CONCAT, self.now_ms), LEASE_MS, on)
            )
        except StoreUnavailable:
            assert fate == "late"
            return
        assert isinstance(outcome, Accepted | Replayed)
        if fate == "answered":
            self.told[client] = outcome.task_key if isinstance(outcome, Replayed) else key

    def land(self) -> None:
        self.loop.run_until_complete(self.database.land())

    def tasks(self) -> list[str]:
        return [row["id"] for row in self.database.rows("SELECT id FROM tasks")]


@contextmanager
def played(script: list[tuple[int, Fate]]) -> Iterator[Deployment]:
    deployment = Deployment()
    for client, fate in script:
        if client == LAND:
            deployment.land()
        else:
            deployment.send(client, fate)
    deployment.land()
    yield deployment
    deployment.close()


@given(events | st.lists(st.tuples(st.integers(0, 2), in_time), max_size=14))
@settings(max_examples=sized(quick=80, test=300, campaign=2_000), deadline=None)
def test_only_what_lands_late_among_equal_wishes_may_be_one_more(script: list[tuple[int, Fate]]) -> None:
    late = sum(fate == "late" for client, fate in script if client != LAND)
    with played(script) as deployment:
        tasks = deployment.tasks()
        assert len(tasks) <= len(deployment.came) + (late if len(deployment.came) > 1 else 0)
        assert bool(tasks) == bool(deployment.came)
        assert set(deployment.told.values()) <= set(tasks)
        places = deployment.database.rows("SELECT task_id FROM submissions")
        assert sorted(row["task_id"] for row in places) == sorted(tasks)


of_one_client = st.lists(st.tuples(st.sampled_from((LAND, 0)), fates), max_size=8)
losing_answers = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(("answered", "lost"))), max_size=12)


@given(of_one_client | losing_answers)
@settings(max_examples=sized(quick=50, test=200, campaign=2_000), deadline=None)
def test_each_wish_of_one_client_or_with_lost_answers_is_a_task(script: list[tuple[int, Fate]]) -> None:
    with played(script) as deployment:
        assert len(deployment.tasks()) == len(deployment.came)


# Parts of the joining statements, each with a script in which one request makes two tasks if the part is missing.
LATE: list[tuple[int, Fate]] = [(0, "late"), (0, "answered"), (LAND, "late")]
LOST: list[tuple[int, Fate]] = [(0, "lost"), (0, "answered")]
ABLATIONS = [
    ("FOLLOW", "OR id > :submission", "", LATE),
    ("FOLLOW", "digest ->> :path IS NULL AND (", "0 AND (", LOST),
    ("TAKE_ROW", "WHERE NOT EXISTS", "WHERE EXISTS (SELECT 1) OR NOT EXISTS", LOST),
]


@pytest.mark.parametrize(("name", "part", "instead", "script"), ABLATIONS)
def test_without_a_part_of_it_tasks_are_doubled(
    monkeypatch: pytest.MonkeyPatch, name: str, part: str, instead: str, script: list[tuple[int, Fate]]
) -> None:
    """If any of the tested parts is removed from the joining statements, requests get too many tasks."""
    with played(script) as deployment:
        assert len(deployment.tasks()) == 1
    whole: Statement = getattr(resend, name)
    assert part in whole.text
    without = statement(whole.text.replace(part, instead))
    monkeypatch.setattr(resend, name, _Tolerant(without))
    with played(script) as deployment:
        assert len(deployment.tasks()) == 2


class _Tolerant:
    """A statement from which a part of the text, and perhaps one parameter, has been removed."""

    def __init__(self, without: Statement) -> None:
        self._without = without

    def bind(self, **values: str | int | None) -> object:
        return self._without.bind(**{name: values[name] for name in self._without.parameters})

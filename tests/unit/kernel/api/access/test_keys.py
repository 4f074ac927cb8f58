"""The form of API keys, an isolate's memory of keys, and the store's statements about keys."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.api.base.services import KeyCache
from src.kernel.domain import limits
from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.keys import NOBODY, Key, Scope, digest, fingerprint, is_key_id, make, ordered, parse, proves
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import load
from src.kernel.store.d1 import Database
from src.kernel.store.keys import KeyStore, NewKey
from tests.support.sqlite_d1 import NETWORK_LOST, SqliteD1, When

GOOD = "oo_" + "0" * 16 + "_" + "A" * 43


@given(st.binary(min_size=40, max_size=40))
def test_what_is_made_can_be_parsed(entropy: bytes) -> None:
    parts, text = make(entropy)
    assert parse(text) == parts
    assert is_key_id(parts.id)
    assert len(text) == 63
    assert text == f"oo_{entropy[:8].hex()}_{parts.secret}"


REPLACED = (("oo", "OO"), ("0", "g"), ("0", "F"), ("A", "+"), ("A", "ａ"), ("0", "٠"), ("_", "-"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "oo__", GOOD[:-1], GOOD + "A", GOOD + "\n", " " + GOOD, "oo_" * 100_000),
        *(GOOD.replace(old, new) for old, new in REPLACED),
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_digest_proves_its_own_secret_alone(secret: str, other: str) -> None:
    secret, other = secret.encode("utf-8", "replace").decode(), other.encode("utf-8", "replace").decode()
    assert proves(secret, digest(secret))
    assert proves(other, digest(secret)) == (other == secret)
    assert not proves(secret, None)


def test_nobody_proves_nothing() -> None:
    assert not proves(NOBODY.secret, None)
    assert not is_key_id(NOBODY.id)


def test_digest_is_sha256() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint("abc").hex() == digest("abc")


def test_scopes_are_shown_in_one_order() -> None:
    assert ordered(frozenset(reversed(Scope))) == ["read", "write", "admin", "operator"]


@pytest.mark.parametrize(
    ("value", "means"), [(None, True), ("", True), ("true", True), ("false", False), (True, True), (False, False)]
)
def test_keys_are_required_unless_a_variable_says_no(value: object, means: bool) -> None:
    assert load({"REQUIRE_KEYS": value}.get).require_keys is means


def key(name: str = "a", expires_at: int | None = None) -> Key:
    return Key(id=name, tenant="t", scopes=frozenset(Scope), label=None, created_at=0, expires_at=expires_at)


def test_a_key_is_remembered_from_the_time_of_asking() -> None:
    cache = KeyCache()
    cache.remember(b"a", key(), asked_at=100, revision=0)
    assert cache.find(b"a", 100 + limits.KEY_CACHE_SECONDS - 0.001, 0) == key()
    assert cache.find(b"b", 100, 0) is None
    assert cache.find(b"a", 100 + limits.KEY_CACHE_SECONDS, 0) is None
    cache.remember(b"a", key(), asked_at=100, revision=0)
    assert cache.find(b"a", 99, 0) is None


def test_the_memory_is_bounded() -> None:
    cache = KeyCache()
    for number in range(limits.KEY_CACHE_MOST):
        cache.remember(b"%d" % number, key(str(number)), asked_at=0, revision=0)
    cache.remember(b"0", key("0"), asked_at=0, revision=0)
    cache.remember(b"one more", key("one more"), asked_at=0, revision=0)
    assert cache.find(b"0", 1, 0) is not None
    assert cache.find(b"1", 1, 0) is None
    assert len(cache._entries) == limits.KEY_CACHE_MOST


def test_a_forgotten_key_stays_forgotten() -> None:
    cache = KeyCache()
    cache.remember(b"a", key("a"), asked_at=0, revision=0)
    cache.remember(b"b", key("b"), asked_at=0, revision=0)
    cache.forget("a")
    cache.remember(b"a", key("a"), asked_at=0, revision=0)
    assert cache.find(b"a", 1, 0) is None
    assert cache.find(b"b", 1, 0) is not None
    cache.remember(b"a", key("a"), asked_at=0, revision=cache.revision)
    assert cache.find(b"a", 1, 0) is not None


class Keys:
    def __init__(self) -> None:
        self.time_ms = 1_000_000
        self.database = SqliteD1(now_ms=lambda: self.time_ms)
        self.store = KeyStore(Database(self.database, Meter()))

    def insert(self, name: int, tenant: str = "t", valid_ms: int | None = None) -> Key | None:
        new = NewKey(
            id=f"{name:016x}",
            tenant=tenant,
            digest=digest(str(name)),
            scopes=frozenset({Scope.READ}),
            label=None,
            valid_ms=valid_ms,
        )
        return asyncio.run(self.store.insert(new))


@pytest.fixture
def keys() -> Iterator[Keys]:
    made = Keys()
    yield made
    made.database.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_insertion_may_be_sent_twice(keys: Keys, when: When) -> None:
    for name in range(limits.KEYS_MOST - 1):
        keys.insert(name)
    keys.database.fail(NETWORK_LOST, when)
    made = keys.insert(1000)
    assert made is not None
    assert (made.id, made.created_at, made.expires_at) == (f"{1000:016x}", 1_000_000, None)
    assert len(asyncio.run(keys.store.list("t"))) == limits.KEYS_MOST
    assert keys.insert(1001) is None
    assert keys.insert(1002, "another") is not None


def test_an_id_belongs_to_its_first_key(keys: Keys) -> None:
    first = keys.insert(1)
    again = NewKey(id=f"{1:016x}", tenant="u", digest=digest("x"), scopes=frozenset(Scope), label=None, valid_ms=None)
    assert asyncio.run(keys.store.insert(again)) is None
    assert asyncio.run(keys.store.find(f"{1:016x}")).key == first


def test_finding(keys: Keys) -> None:
    assert asyncio.run(keys.store.find("0" * 16)) == (found := asyncio.run(keys.store.find("")))
    assert (found.key, found.digest, found.any_key) == (None, None, False)
    made = keys.insert(1, valid_ms=10)
    before = keys.database.batches
    there = asyncio.run(keys.store.find(f"{1:016x}"))
    assert (there.key, there.digest, there.any_key) == (made, digest("1"), True)
    keys.time_ms += 10
    gone = asyncio.run(keys.store.find(f"{1:016x}"))
    assert (gone.key, gone.digest, gone.any_key) == (None, None, True)
    assert keys.database.batches - before == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("id", value) for value in ("x", "G" * 16)),
        *(("tenant", value) for value in ("", "a:b", "-a", "x" * 64)),
        *(("scopes", value) for value in ("read", "[]")),
        *(("label", value) for value in ("", "x" * 101)),
        ("digest", "secret"),
        ("expires_at", 1),
    ],
)
def test_the_table_refuses_what_is_no_key(keys: Keys, column: str, value: str | int) -> None:
    row: dict[str, str | int | None] = {
        "id": "0" * 16,
        "tenant": "t",
        "digest": digest("x"),
        "scopes": '["read"]',
        "label": None,
        "created_at": 1,
        "expires_at": None,
    } | {column: value}
    with pytest.raises(Exception, match=r"CHECK|malformed JSON"):
        keys.database.rows("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?)", *row.values())


@pytest.mark.parametrize("value", ["no", "0", "False", 0])
def test_anything_else_is_refused(value: object) -> None:
    """An unknown value of REQUIRE_KEYS is refused, so that a misspelt one never opens the deployment."""
    with pytest.raises(ConfigurationError, match=r"^REQUIRE_KEYS must be one of true, false"):
        load({"REQUIRE_KEYS": value}.get)

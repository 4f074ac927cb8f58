"""Stories about API keys, which are found, written, listed and revoked, and which expire."""

from typing import Any

from src.kernel.domain.keys import Key, Scope, ordered
from src.kernel.store.keys import KeyLookup, NewKey
from tests.conformance.cases.storyteller import Story, limited, tells

VALID_MS = 1_000_000


OWN = frozenset({Scope.WRITE, Scope.READ})


def _new(
    at: int, tenant: str = "local", digit: str = "a", *, valid_ms: int | None = None, scopes: frozenset[Scope] = OWN
) -> NewKey:
    return NewKey(
        id=_id(at), tenant=tenant, digest=digit * 64, scopes=scopes, label="ü" if at % 2 else None, valid_ms=valid_ms
    )


def _id(at: int) -> str:
    return f"{at:016x}"


def _facts(key: Key | None) -> Any:
    return key and [key.id, key.tenant, ordered(key.scopes), key.label, key.expires_at is not None]


def _found(found: KeyLookup) -> Any:
    return [_facts(found.key), found.digest, found.any_key]


async def _listed(story: Story, tenant: str = "local") -> Any:
    # Keys are ordered by age, and keys of the same millisecond by their ids. In this story the keys' order by age is
    # the same as their order by id.
    return [_facts(key) for key in await story.keys.list(tenant)]


@tells(Story)
async def a_key_from_its_making_to_its_revocation(story: Story) -> None:
    keys = story.keys
    story.outcomes.append(_found(await keys.find(_id(1))))
    for new in (_new(1), _new(1), _new(2, valid_ms=VALID_MS), _new(3, "other"), _new(1, digit="b"), _new(3, digit="a")):
        story.outcomes.append(_facts(await keys.insert(new)))
    story.outcomes += [_found(await keys.find(one)) for one in (_id(1), _id(2), _id(3), _id(9), "", "'--")]
    story.outcomes += [await _listed(story), await _listed(story, "other"), await _listed(story, "none")]
    story.outcomes += [await keys.delete("other", _id(1)), await keys.delete("local", _id(1))]
    story.outcomes += [await keys.delete("local", _id(1)), await keys.delete("local", _id(9))]
    story.outcomes += [_found(await keys.find(_id(1))), await _listed(story)]
    for scopes in (OWN | {Scope.OPERATOR}, frozenset(Scope)):
        story.outcomes.append(_facts(await keys.insert(_new(8 + len(scopes), scopes=scopes))))
    story.outcomes.append(await _listed(story))


@tells(Story)
async def a_key_that_expires(story: Story) -> None:
    keys = story.keys
    for new in (_new(1, valid_ms=VALID_MS), _new(2, "other", valid_ms=VALID_MS)):
        story.outcomes.append(_facts(await keys.insert(new)))
    await story.alter("UPDATE api_keys SET created_at = 1, expires_at = 2")
    story.outcomes += [_found(await keys.find(_id(1))), await _listed(story)]
    story.outcomes.append(_facts(await keys.insert(_new(3))))
    story.outcomes += [await _listed(story), await _listed(story, "other")]


@tells(Story)
async def as_many_keys_as_a_tenant_may_have(story: Story) -> None:
    keys = story.keys
    with limited("KEYS_MOST", 2):
        for new in (_new(1), _new(2, valid_ms=VALID_MS), _new(3), _new(2, valid_ms=VALID_MS), _new(4, "other")):
            story.outcomes.append(_facts(await keys.insert(new)))
        await story.alter("UPDATE api_keys SET created_at = 1, expires_at = 2 WHERE id = ?1", _id(2))
        story.outcomes.append(_facts(await keys.insert(_new(3))))  # the expired key does not count against the limit
        assert await keys.delete("local", _id(1))
        story.outcomes.append(_facts(await keys.insert(_new(5))))
    story.outcomes.append(await _listed(story))

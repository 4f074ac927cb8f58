"""Which groups of calls are out, and what a group that never answered still takes up."""

from src.inference.demo import DemoProvider
from src.inference.protocol import ModelReply
from src.processing.crew import Crew, Roster, Silence
from src.store.claims import CallKey

REPLY = ModelReply("x", 1, 1)
KEYS = [CallKey(0, position) for position in range(6)]


def roster() -> Roster:
    """Five groups of six."""
    return Roster(Crew(DemoProvider(), 30, group=6, slack_seconds=5.0))


def test_a_group_is_out_until_its_last_call_has_ended():
    """A group of which one call is out takes up as much as a whole one."""
    some = roster()
    assert some.start([*KEYS, CallKey(0, 6)]) == 2
    for key in KEYS[:5]:
        some.end(key, REPLY)
    assert (some.groups, some.free) == (2, 18)
    some.end(KEYS[5], REPLY)
    assert (some.groups, some.free) == (1, 24)


def test_a_silent_group_stays_out_while_its_calls_are_made_again():
    """Its connection may still be held: calls of it that go out in another group, and come back, do not free it. All
    its calls together count once."""
    some = roster()
    some.start(KEYS)
    some.end(KEYS[0], REPLY)
    for key in KEYS[1:]:
        some.end(key, Silence("nothing"))
    assert (some.groups, some.free) == (1, 24)
    for _ in range(2):
        some.start(KEYS[1:])
        assert (some.groups, some.free) == (2, 18)
        for key in KEYS[1:]:
            some.end(key, REPLY)
        assert (some.groups, some.free) == (1, 24)


def test_a_silent_group_counts_once_while_others_of_it_are_out():
    """Some of its calls are given up before the others: the group is out, once."""
    some = roster()
    some.start(KEYS)
    some.end(KEYS[0], Silence("nothing"))
    assert some.groups == 1
    some.start(KEYS[:1])
    assert some.groups == 2
    for key in KEYS[1:]:
        some.end(key, REPLY)
    some.end(KEYS[0], REPLY)
    assert (some.groups, some.free) == (1, 24)

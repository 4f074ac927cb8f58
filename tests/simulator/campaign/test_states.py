"""Every state of a small task within small bounds; `python -m simulator.states` searches within larger ones."""

import pickle

import pytest

from simulator.campaign import sections
from simulator.campaign.ablations import ABLATIONS
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.ablations.substitutes import swapped
from simulator.campaign.states.ablated import found_without, guards
from simulator.campaign.states.scenes import limits_of_scenes, scene
from simulator.campaign.states.search import Bounds, Search
from src.kernel.store.fragments import IN_DOUBT

NAMED = {ablation.name: ablation for ablation in ABLATIONS}


def test_no_state_of_a_small_task_breaks_an_invariant():
    """Two workers, a sweep and a client act on tasks of two chunks in all orders, and one thing fails on each path."""
    found = sections.states()
    assert all(figures["done"] for figures in found.values())
    assert sum(figures["states"] for figures in found.values()) > 60_000


@pytest.mark.parametrize("name", ["fence_in_progress", "lease_in_claim", "step_in_progress"])
def test_a_missing_guard_is_found_with_a_short_trace(name: str):
    found = found_without(NAMED[name])
    assert found is not None
    assert 2 <= len(found.steps) <= 8


def test_a_bill_that_a_retry_cuts_is_found():
    cut = IN_DOUBT.replace("json_array_length(in_flight)", "0")
    ablation = Ablation("retry_keeps_the_bill", "", (swapped("RETRY", IN_DOUBT, cut),))
    found = found_without(ablation)
    assert found is not None
    assert "bill" in found.what


def test_an_interrupted_search_goes_on(tmp_path):
    path, one = tmp_path / "kept.pickle", scene("plain", bounds=Bounds(most=1), sweeps=False)
    with limits_of_scenes():
        whole, first, second = Search(one), Search(one), Search(one)
        assert whole.run() is first.run(states_most=300) is None
        assert not first.figures.done
        first.save(path, "the code")
        assert not second.restore(path, "other code")
        assert second.restore(path, "the code")
        assert second.run() is None
        for search in (whole, first, second):
            search.close()
    same = ("states", "transitions", "depth", "contents", "positions", "ends", "done")
    assert [getattr(second.figures, name) for name in same] == [getattr(whole.figures, name) for name in same]


def test_what_other_code_has_kept_is_not_read(tmp_path):
    """Its classes may have changed, and then it cannot be read."""
    path = tmp_path / "kept.search"
    path.write_bytes(pickle.dumps("other code") + b"cannot be read")
    search = Search(scene("plain", bounds=Bounds(most=1), sweeps=False))
    assert not search.restore(path, "the code")
    search.close()


@pytest.mark.campaign
@pytest.mark.parametrize("ablation", guards(), ids=lambda ablation: ablation.name)
def test_each_missing_guard_is_found(ablation: Ablation):
    assert found_without(ablation) is not None

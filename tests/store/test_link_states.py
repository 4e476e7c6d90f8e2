"""What links stand for: kept under a digest, and what changed since one was made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from store.changes import count_changes
from store.connection import Store
from store.errors import InvalidSpecError, SourceNotFoundError, StateNotFoundError
from store.labels import LabelRepository
from store.link_states import LinkStateRepository
from store.records import Changes
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens


@pytest.fixture
def states(store: Store) -> LinkStateRepository:
    return LinkStateRepository(store)


def test_a_state_comes_back_under_its_id_and_has_one(states: LinkStateRepository) -> None:
    params = {"q": "SELECT 'ü\x00'" + "x" * 10_000, "show": "chart"}
    first = states.insert_state(params)
    again = states.insert_state(dict(reversed(params.items())))
    assert first == again
    assert len(first) == 20
    assert states.get_state(first) == params
    assert states.insert_state({"q": "SELECT 2"}) != first


@pytest.mark.parametrize("state_id", ["", "0" * 20, "\ud800", "' OR true --"])
def test_an_id_of_nothing_is_said(states: LinkStateRepository, state_id: str) -> None:
    with pytest.raises(StateNotFoundError):
        states.get_state(state_id)


@pytest.mark.parametrize("text", ["x" * 60_000, "\ud800"])
def test_what_cannot_be_kept_is_refused(states: LinkStateRepository, text: str) -> None:
    with pytest.raises(InvalidSpecError):
        states.insert_state({"q": text})


def test_changes_since_a_moment_are_counted_for_a_source_and_a_feature(
    store: Store, runs: RunRepository
) -> None:
    assert count_changes(store, datetime(2000, 1, 1, tzinfo=UTC)) == Changes(0, 0, 0)
    run = make_run()
    runs.insert_run(SOURCE, run, make_tokens(), make_activations())
    LabelRepository(store).insert_label("demo", 7, "x", author="ann")
    with store.write() as cursor:
        cursor.execute(
            "UPDATE base.labels SET created_at = ?", [run.created_at.replace(tzinfo=None)]
        )
        cursor.execute(
            "INSERT INTO base.outcomes VALUES (1, 'wrong', 'm', NULL, 'j', 1, 'ann', ?)",
            [run.created_at.replace(tzinfo=None)],
        )
    before = run.created_at - timedelta(0, 1)
    assert count_changes(store, before) == Changes(1, 1, 1)
    assert count_changes(store, run.created_at) == Changes(0, 0, 0)
    assert count_changes(store, before, "demo") == Changes(1, 1, 1)
    assert count_changes(store, before, "demo", 7) == Changes(1, 1, 1)
    assert count_changes(store, before, "demo", 8) == Changes(1, 0, 1)
    assert count_changes(store, before, "demo", run_key=run.run_key) == Changes(0, 1, 1)
    assert count_changes(store, before, run_key="f" * 64) == Changes(0, 1, 0)
    with pytest.raises(SourceNotFoundError):
        count_changes(store, before, "nowhere")

"""Lists of features: shared, annotated, and usable by name."""

from __future__ import annotations

import pytest

from store.connection import Store
from store.errors import (
    FeatureListNotFoundError,
    InvalidSpecError,
    NotTheAuthorError,
    SourceNotFoundError,
)
from store.feature_lists import MAX_ITEMS, FeatureListRepository
from store.feature_search import FeatureSearchRepository
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens


@pytest.fixture
def lists(store: Store, runs: RunRepository) -> FeatureListRepository:
    runs.insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    return FeatureListRepository(store)


def test_a_list_holds_each_feature_once_with_its_last_note(
    store: Store, lists: FeatureListRepository
) -> None:
    made = lists.insert_list(" unknown  people ", "ada", "who is made up")
    assert made.name == "unknown people"
    assert lists.add_features(made.list_id, "demo", [7, 8, 7], "bob", "first") == 2
    assert lists.add_features("Unknown People", "demo", [8, 9], "cy", "second") == 1
    items = lists.list_items(made.list_id)
    assert [(item.feature, item.note, item.added_by) for item in items] == [
        (7, "first", "bob"),
        (8, "second", "cy"),
        (9, "second", "cy"),
    ]
    assert lists.remove_features(made.list_id, "demo", [9, 500]) == 1
    assert lists.get_list(made.list_id).n_features == 2
    with store.read() as cursor:
        rows = cursor.execute(
            "SELECT l.name, n_features, feature, added_by FROM feature_lists AS l"
            " JOIN feature_list_items USING (list_id) ORDER BY feature"
        ).fetchall()
    assert rows == [("unknown people", 2, 7, "bob"), ("unknown people", 2, 8, "cy")]


def test_a_list_chooses_features_by_name_or_id(store: Store, lists: FeatureListRepository) -> None:
    made = lists.insert_list("of interest", "ada")
    lists.add_features(made.list_id, "demo", [7, 999], "ada")
    search = FeatureSearchRepository(store)
    for named in (f"list:{made.list_id}", 'list:"Of Interest"'):
        found = search.search_features("demo", named, show_all=True)
        # 999 never fired and has no label: it is no row of a table of features
        assert [row.feature for row in found.rows] == [7]
    assert 7 not in {
        row.feature
        for row in search.search_features("demo", 'NOT list:"of interest"', show_all=True).rows
    }
    with pytest.raises(FeatureListNotFoundError, match="gone"):
        search.search_features("demo", "list:gone")


def test_only_its_author_renames_or_deletes_a_list(lists: FeatureListRepository) -> None:
    made = lists.insert_list("mine", "ada")
    lists.add_features(made.list_id, "demo", [7], "bob")
    with pytest.raises(NotTheAuthorError, match="ada"):
        lists.update_list(made.list_id, "yours", "", "bob")
    with pytest.raises(NotTheAuthorError):
        lists.delete_list(made.list_id, "bob")
    renamed = lists.update_list(made.list_id, "ours", "a note", "ada")
    assert (renamed.list_id, renamed.name, renamed.note) == (made.list_id, "ours", "a note")
    assert renamed.updated_at is not None
    assert [item.name for item in lists.list_lists()] == ["ours"]
    lists.delete_list(made.list_id, "ada")
    with pytest.raises(FeatureListNotFoundError):
        lists.list_items(made.list_id)
    assert lists.list_lists() == ()


def test_a_name_is_of_one_list_whatever_its_case(lists: FeatureListRepository) -> None:
    first = lists.insert_list("Birds", "ada")
    with pytest.raises(InvalidSpecError, match="already, by ada"):
        lists.insert_list("birds", "bob")
    with pytest.raises(InvalidSpecError, match="already"):
        lists.insert_list(first.list_id, "bob")
    second = lists.insert_list("boats", "bob")
    with pytest.raises(InvalidSpecError, match="already"):
        lists.update_list(second.list_id, "BIRDS", "", "bob")
    assert lists.update_list(first.list_id, "birds", "", "ada").name == "birds"


def test_what_cannot_be_on_a_list_is_refused(lists: FeatureListRepository) -> None:
    made = lists.insert_list("mine", "ada")
    with pytest.raises(InvalidSpecError, match="no feature 1000"):
        lists.add_features(made.list_id, "demo", [7, 1000], "ada")
    with pytest.raises(SourceNotFoundError):
        lists.add_features(made.list_id, "nowhere", [7], "ada")
    with pytest.raises(InvalidSpecError, match="empty"):
        lists.insert_list("  ", "ada")
    with pytest.raises(InvalidSpecError, match="characters"):
        lists.add_features(made.list_id, "demo", [7], "ada", "x" * 100_000)
    with pytest.raises(FeatureListNotFoundError):
        lists.get_list("\ud800")
    assert lists.list_items(made.list_id) == ()
    assert MAX_ITEMS > 1000

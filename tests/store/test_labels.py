"""Labels: which one is current, and that nothing that was ever written is lost."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.connection import Store
from store.errors import (
    InvalidSpecError,
    LabelConflictError,
    LabelNotFoundError,
    SourceNotFoundError,
)
from store.feature_records import NewLabel
from store.labels import MAX_LABEL_CHARS, LabelRepository
from store.runs import RunRepository
from tests.store.samples import D_SAE, SOURCE, make_activations, make_run, make_tokens


@pytest.fixture
def labels(store: Store, runs: RunRepository) -> LabelRepository:
    runs.insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    return LabelRepository(store)


def _shown(store: Store, feature: int = 7) -> tuple[object, ...]:
    with store.read() as cursor:
        [row] = cursor.execute(
            "SELECT label, label_origin, label_score FROM features WHERE feature = ?", [feature]
        ).fetchall()
    return row


def test_the_last_label_of_a_person_is_shown_before_the_best_automatic_one(
    store: Store, labels: LabelRepository
) -> None:
    labels.insert_label("demo", 7, "weak", "auto", "rules", score=0.69)
    assert labels.find_current("demo", 7) is None
    assert _shown(store) == (None, None, None)
    labels.insert_label("demo", 7, "fair", "auto", "more rules", score=0.7)
    labels.insert_label("demo", 7, "good", "model", "hosted", score=0.9)
    labels.insert_label("demo", 7, "unmeasured", "auto", "guess")
    assert _shown(store) == ("good", "model", 0.9)
    labels.insert_label("demo", 7, "birds", author="ada")
    last = labels.insert_label("demo", 7, "sea birds", author="bob")
    assert _shown(store) == ("sea birds", "human", None)
    assert [label.text for label in labels.list_labels("demo", 7)] == [
        "sea birds",
        "birds",
        "good",
        "fair",
        "weak",
        "unmeasured",
    ]
    labels.withdraw_label(last.label_id, "bob")
    assert labels.get_current_labels("demo", [3, 7])[7].text == "birds"
    assert len(labels.list_history("demo", 7)) == 6


def test_an_edit_takes_the_place_of_what_it_edits_and_the_old_text_can_be_restored(
    labels: LabelRepository,
) -> None:
    first = labels.insert_label("demo", 7, "birds", author="ada", evidence='{"seen": 3}')
    second = labels.insert_label("demo", 7, "boats", author="bob", replaces=first.label_id)
    assert [label.text for label in labels.list_labels("demo", 7)] == ["boats"]
    old = labels.get_label(first.label_id)
    assert (old.status, old.ended_by, old.text) == ("replaced", "bob", "birds")
    third = labels.restore_label(first.label_id, "cy")
    assert (third.text, third.author, third.origin) == ("birds", "cy", "human")
    assert third.is_current
    assert third.replaces == second.label_id
    assert json.loads(str(third.evidence)) == {"seen": 3}
    history = [(label.text, label.status) for label in labels.list_history("demo", 7)]
    assert history == [("birds", "active"), ("boats", "replaced"), ("birds", "replaced")]


def test_of_two_people_who_edit_one_label_neither_is_lost_and_the_second_is_told(
    labels: LabelRepository,
) -> None:
    read = labels.insert_label("demo", 7, "birds", author="ada")
    labels.insert_label("demo", 7, "sea birds", author="bob", replaces=read.label_id)
    with pytest.raises(LabelConflictError, match="bob changed this label") as told:
        labels.insert_label("demo", 7, "gulls", author="cy", replaces=read.label_id)
    kept = labels.get_label(told.value.kept_id)
    assert (kept.text, kept.author, kept.status) == ("gulls", "cy", "late")
    current = labels.find_current("demo", 7)
    assert current is not None
    assert current.text == "sea birds"
    restored = labels.restore_label(kept.label_id, "cy")
    assert restored.is_current
    assert [label.text for label in labels.list_labels("demo", 7)] == ["gulls"]


def test_many_editors_at_once_leave_one_current_label_and_every_text(
    labels: LabelRepository,
) -> None:
    read = labels.insert_label("demo", 7, "birds", author="ada")
    told = []

    def edit(name: str) -> None:
        try:
            labels.insert_label("demo", 7, name, author=name, replaces=read.label_id)
        except LabelConflictError as error:
            told.append(error)

    editors = [threading.Thread(target=edit, args=(f"p{number}",)) for number in range(6)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    assert len(told) == 5
    history = labels.list_history("demo", 7)
    assert {label.text for label in history} == {"birds", *(f"p{number}" for number in range(6))}
    assert sum(label.is_current for label in history) == 1
    assert [label.status for label in history].count("late") == 5


def test_automatic_labels_of_one_method_take_the_place_of_its_former_ones(
    labels: LabelRepository,
) -> None:
    some = [NewLabel(feature, f"first {feature}", feature / D_SAE) for feature in range(D_SAE)]
    assert labels.insert_labels("demo", some, "auto", "rules") == D_SAE
    person = labels.insert_label("demo", 999, "mine", author="ada")
    assert labels.insert_labels("demo", [NewLabel(999, "second", 0.8)], "auto", "rules") == 1
    labels.insert_labels("demo", [NewLabel(999, "other", 0.75)], "auto", "other rules")
    assert [label.text for label in labels.list_labels("demo", 999)] == ["mine", "second", "other"]
    current = labels.get_current_labels("demo")
    assert sorted(current) == list(range(700, D_SAE))
    labels.withdraw_label(person.label_id, "ada")
    assert labels.get_current_labels("demo", [999])[999].text == "second"
    with pytest.raises(InvalidSpecError, match="one feature"):
        labels.insert_labels("demo", [NewLabel(1, "a"), NewLabel(1, "b")], "auto", "rules")


@pytest.mark.parametrize(
    ("text", "says"),
    [("x" * 100_000, "100,000 characters"), (" \n ", "empty"), ("\ud800", "Unicode")],
)
def test_a_label_that_cannot_be_is_refused_clearly(
    labels: LabelRepository, text: str, says: str
) -> None:
    with pytest.raises(InvalidSpecError, match=says):
        labels.insert_label("demo", 7, text, author="ada")
    assert labels.list_history("demo", 7) == ()


def test_what_a_label_hangs_on_must_be_there(labels: LabelRepository) -> None:
    with pytest.raises(InvalidSpecError, match="no feature 1000"):
        labels.insert_label("demo", D_SAE, "birds")
    with pytest.raises(InvalidSpecError, match="no feature -1"):
        labels.insert_labels("demo", [NewLabel(-1, "birds")], "auto", "rules")
    with pytest.raises(SourceNotFoundError):
        labels.insert_label("nowhere", 7, "birds")
    with pytest.raises(LabelNotFoundError):
        labels.insert_label("demo", 7, "birds", replaces="none")
    with pytest.raises(InvalidSpecError, match="origin"):
        labels.insert_label("demo", 7, "birds", "oracle")  # type: ignore[arg-type]
    with pytest.raises(InvalidSpecError, match="0 to 1"):
        labels.insert_label("demo", 7, "birds", score=float("nan"))
    with pytest.raises(InvalidSpecError, match="JSON"):
        labels.insert_label("demo", 7, "birds", evidence="[NaN]")
    other = labels.insert_label("demo", 8, "boats")
    with pytest.raises(InvalidSpecError, match="another feature"):
        labels.insert_label("demo", 7, "birds", replaces=other.label_id)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(text=st.text(max_size=MAX_LABEL_CHARS))
def test_any_text_is_kept_as_it_is_on_one_line_or_refused(
    labels: LabelRepository, text: str
) -> None:
    try:
        stored = labels.insert_label("demo", 7, text, author=text)
    except InvalidSpecError:
        assert not text.split() or any("\ud800" <= letter <= "\udfff" for letter in text)
        return
    assert labels.get_label(stored.label_id).text == " ".join(text.split())


def test_markup_is_characters_like_others(labels: LabelRepository) -> None:
    markup = "<script>alert(1)</script> **bold** [x](javascript:1) $q$"
    assert labels.insert_label("demo", 7, markup).text == markup

"""The features that differ, the detector against its baselines, its audits, and stored detectors.

Invariant: which evaluation, slice and curves are in the link; training and scoring are tasks.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.detector_forms import ShelfAction, detector_shelf, train_form
from dashboard.components.detector_panel import (
    curves,
    figure_table,
    forest,
    sentence_list,
    split_words,
    unavailable_list,
)
from dashboard.components.feature_table import NO_FEATURE
from dashboard.components.link_choice import link_choice
from dashboard.components.scan_panel import MAX_ROWS, scan_panel
from dashboard.confabulation_parts.page_data import PageData
from dashboard.confabulation_parts.set_part import follow
from dashboard.confabulation_view import (
    cohort_filters,
    find_slice,
    gate_words,
    picked_curves,
    slice_names,
    slice_words,
)
from dashboard.links import ViewState, to_params
from engine.api import Evaluation

_SCAN = "scan_table"
_CURVES = "choose_curves"
_ID_CHARS = 8
_MOST_CURVES = 6


def show_features(page: PageData) -> None:
    """The features that differ, with their null, and the way to the page that compares runs."""
    kept, source_id = page.stored
    evaluation = page.evaluation
    tools = dict(evaluation.settings).get("tools", "off") if evaluation else "off"
    first, second = cohort_filters(kept.name, tools)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            "views/compare.py",
            label="Compare false with right answers, feature by feature",
            icon=":material/compare_arrows:",
            query_params=to_params(ViewState(source=page.source.name, a=first, b=second)),
        )
    if evaluation is None:
        _offer_training(page, "A scan of all features comes with the training of detectors.")
    elif evaluation.features is None:
        st.text("Too few features fire in enough groups to be compared. Ask more questions.")
    else:
        scan = evaluation.features
        labels = page.services.get_label_texts(
            source_id, [item.feature for item in scan.rows[:MAX_ROWS]]
        )
        scan_panel(
            scan,
            labels,
            page.source.name,
            page.state.feature,
            page.toy,
            on_pick=_on_feature,
            key=_SCAN,
        )


def show_detector(page: PageData) -> None:
    """What was measured, in the order in which it should be believed."""
    evaluation = page.evaluation
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if evaluation is not None:
            _choose_evaluation(page, evaluation)
            _choose_slice(page.state, evaluation)
        _train_button(page)
    if evaluation is None:
        st.text("No detector was trained on these answers yet.")
        return
    names = slice_names(evaluation)
    chosen = page.state.slice if page.state.slice in names else names[0]
    sentence_list(evaluation.sentences, chosen)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.caption(
            f"Candidates and baselines on {slice_words(chosen)}{page.toy}; ★ is the one to use"
        )
        forest(evaluation, chosen, page.toy)
    with right:
        _show_curves(page, evaluation, chosen)
    st.caption(split_words(evaluation))
    figure_table(evaluation.detectors, chosen, page.toy)
    unavailable_list(evaluation.detectors)
    st.caption(", ".join(f"{name} {value}" for name, value in evaluation.settings))


def show_shelf(page: PageData) -> None:
    """Stored detectors: use, score, retire."""
    cards = tuple(card for card in page.cards if card.kind == "candidate" or card.can_score)
    if not cards:
        return
    is_whole = st.toggle("Baselines and retired ones too", key="whole_shelf")
    shown = tuple(
        card for card in cards if is_whole or (card.kind == "candidate" and card.retired_at is None)
    )
    with error_boundary():
        action = detector_shelf(shown, page.state.run, page.toy)
        if action is not None:
            _act(page, action)


def _act(page: PageData, action: ShelfAction) -> None:
    kept, _ = page.stored
    detectors = page.services.engine.confabulation.detectors
    if action.kind == "retire":
        card = detectors.retire(action.detector_id, session.user_name())
        session.tell(f"{card.name} is retired.", "Its figures and scores stay.")
        st.rerun()
    name = kept.name.replace('"', '""')
    follow(detectors.start_scoring(action.detector_id, f'set:"{name}"', session.user_name()))


def _train_button(page: PageData) -> None:
    if st.button("Train and evaluate", icon=":material/model_training:", key="train_button"):
        _train_dialog(page)


@st.dialog("Train and evaluate")
def _train_dialog(page: PageData) -> None:
    kept, source_id = page.stored
    with error_boundary():
        st.caption(
            "Trains every candidate and baseline, and measures all of them once on held-out "
            "groups: a minute or so for a thousand answers. Equal answers and settings are read "
            "from the store."
        )
        settings = train_form(is_used=page.n_answers > 0)
        if settings is not None:
            follow(
                page.services.engine.confabulation.detectors.start_evaluation(
                    kept.name, source_id, settings, session.user_name()
                )
            )


def _offer_training(page: PageData, words: str) -> None:
    st.text(words)
    _train_button(page)


def _choose_evaluation(page: PageData, evaluation: Evaluation) -> None:
    """Which evaluation, where there are several."""
    best: dict[str, str] = {}
    words: dict[str, str] = {}
    for card in page.cards:
        if card.evaluation_id not in best or card.is_chosen:
            best[card.evaluation_id] = card.detector_id
            words[card.detector_id] = f"{card.created_at:%Y-%m-%d %H:%M} · {card.name}"
    if len(best) < 2:
        return
    options = {detector_id: words[detector_id] for detector_id in best.values()}
    link_choice(
        "Evaluation",
        options,
        best[evaluation.evaluation_id],
        "choose_evaluation",
        lambda now, value: replace(now, detector=value, slice=None, curves=None),
        is_list=True,
        width=360,
    )


def _choose_slice(state: ViewState, evaluation: Evaluation) -> None:
    names = slice_names(evaluation)
    link_choice(
        "Slice",
        {name: slice_words(name) for name in names},
        state.slice if state.slice in names else names[0],
        "choose_slice",
        lambda now, value: replace(now, slice=None if value == names[0] else value, curves=None),
        help="Part of the held-out answers.",
    )


def _show_curves(page: PageData, evaluation: Evaluation, slice_name: str) -> None:
    """ROC, precision and recall, reliability, risk and coverage of the picked detectors."""
    names = {
        item.detector_id: item.name
        for item in evaluation.detectors
        if item.detector_id and find_slice(item, slice_name) is not None
    }
    picked = picked_curves(evaluation, page.state.curves, slice_name)[:_MOST_CURVES]
    session.mirror_many(_CURVES, [key for key in picked if key in names])
    st.multiselect(
        "Curves of",
        list(names),
        format_func=lambda key: names[key],
        key=_CURVES,
        on_change=_on_curves,
        max_selections=_MOST_CURVES,
        label_visibility="collapsed",
        placeholder="Choose detectors",
    )
    found = [
        (item.name, figures)
        for item in evaluation.detectors
        if item.detector_id in picked and (figures := find_slice(item, slice_name)) is not None
    ]
    if not found:
        return
    st.caption(gate_words(found[0][1]))
    if found[0][1].curves is None:
        st.text("Too few answers for curves.")
    else:
        curves(found, page.toy)


def _on_curves() -> None:
    values = session.widget_values(_CURVES)
    joined = ",".join(value[:_ID_CHARS] for value in values)
    session.show(replace(session.view(), curves=joined or None))


def _on_feature() -> None:
    feature = session.picked(_SCAN, "picked")
    if feature is not None:
        session.show(replace(session.view(), feature=None if feature == NO_FEATURE else feature))

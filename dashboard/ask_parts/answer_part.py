"""What is known of an answer beside its features: tools it called, judgements, a detector's score.

Invariant: read from the store alone; the chosen detector and its threshold are in the link, and a
person's judgement is kept at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.feature_table import NO_FEATURE
from dashboard.components.link_choice import link_choice
from dashboard.components.live_score import (
    DEFAULT_RATE,
    MAX_FEATURES,
    RATES,
    live_score,
    score_features,
)
from dashboard.components.notice import notice
from dashboard.components.outcome_list import judgement_list, person_buttons, verdict_line
from dashboard.components.tool_steps import tool_steps
from dashboard.links import ViewState
from dashboard.outcome_words import MEANING_WORDS, method_word
from dashboard.run_view import RunView
from dashboard.services import Services
from engine.api import DetectorCard, LiveScore
from engine.errors import EngineError
from store.errors import StoreError

_NONE = "none"
_TABLE = "score_features"


def show_answer_facts(
    services: Services, view: RunView, state: ViewState, toy: str
) -> LiveScore | None:
    """Tools, judgements and the score of a detector, if one is chosen and can tell."""
    run = view.run
    tool_steps(services.engine.confabulation.tool_calls.list_calls(run.run_key), run.tools)
    score: LiveScore | None = None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with error_boundary():
            _show_judgements(services, view, toy)
        cards = _list_cards(services, view, state)
        if cards or state.detector is not None:
            _choose(cards, state)
        if state.detector is not None:
            score = _find_score(services, view, state, state.detector)
        if score is not None:
            live_score(score, toy)
            _show_features(services, view, state, score)
    for caveat in score.caveats if score else ():
        st.text(caveat)
    return score


def _show_judgements(services: Services, view: RunView, toy: str) -> None:
    run = view.run
    lab = services.engine.confabulation
    outcomes = lab.outcomes.list_outcomes(run.run_key)
    verdict = lab.outcomes.get_verdicts([run.run_key]).get(run.run_key) if outcomes else None
    title = "Not judged"
    if verdict is not None:
        contested = ", contested" if verdict.is_contested else ""
        title = f"{MEANING_WORDS[verdict.meaning]}, by {method_word(verdict.method)}{contested}"
    with st.popover(title, icon=":material/fact_check:", help="What the answer was judged to be."):
        if verdict is not None:
            verdict_line(verdict, toy)
        judgement_list(outcomes)
        note = st.text_input(
            "Note",
            key=f"note-{run.run_key}",
            max_chars=2_000,
            placeholder="Why (optional)",
            label_visibility="collapsed",
        )
        pressed = person_buttons("ask", can_misreport=run.tools)
        if pressed is not None:
            lab.judge_by_person(run.run_key, pressed, session.user_name(), note or "")
            st.rerun()


def _list_cards(services: Services, view: RunView, state: ViewState) -> tuple[DetectorCard, ...]:
    detectors = services.engine.confabulation.detectors
    found = detectors.list_detectors(view.run.source_id, with_retired=state.detector is not None)
    return usable(found, state.detector)


def _find_score(
    services: Services, view: RunView, state: ViewState, detector_id: str
) -> LiveScore | None:
    rate = DEFAULT_RATE if state.rate is None else state.rate
    try:
        return services.engine.confabulation.detectors.score_run(
            detector_id, view.run.run_key, rate
        )
    except (EngineError, StoreError) as error:
        notice("warning", error.message, error.hint)
        return None


def _show_features(services: Services, view: RunView, state: ViewState, score: LiveScore) -> None:
    if not score.features:
        return
    features = [item.feature for item in score.features[:MAX_FEATURES]]
    labels = services.get_label_texts(view.run.source_id, features)
    n_features = len(score.features)
    title = "1 feature carries it" if n_features == 1 else f"{n_features:,} features carry it"
    with st.popover(title, icon=":material/grain:"):
        score_features(
            score, labels, view.run.source_name, state.feature, _TABLE, on_pick=_on_feature
        )


def usable(cards: Sequence[DetectorCard], chosen: str | None) -> tuple[DetectorCard, ...]:
    """Detectors that score a new answer at once, those to use first; and the chosen one."""
    found = [
        card
        for card in cards
        if card.detector_id == chosen
        or (
            card.can_score
            and not card.needs_model
            and card.retired_at is None
            and card.kind == "candidate"
        )
    ]
    return tuple(sorted(found, key=lambda card: not card.is_chosen))


def kept_choice(state: ViewState) -> ViewState:
    """What of a link goes on to the next answer: the detector, its threshold, its colours."""
    if state.detector is None:
        return ViewState()
    colour = state.colour if state.colour == "detector" else None
    return ViewState(detector=state.detector, rate=state.rate, colour=colour)


def _choose(cards: Sequence[DetectorCard], state: ViewState) -> None:
    options = {_NONE: "No detector"}
    for card in cards:
        figure = "" if card.auroc is None else f", AUROC {card.auroc.value:.2f}"
        star = "★ " if card.is_chosen else ""
        options[card.detector_id] = f"{star}{card.name}, {card.set_name}{figure}"
    if state.detector is not None:
        options.setdefault(state.detector, "the link's detector")
    link_choice(
        "Detector",
        options,
        state.detector or _NONE,
        "live_detector",
        _with_detector,
        is_list=True,
        width=300,
    )
    if state.detector is not None:
        link_choice(
            "False alarms",
            dict(RATES),
            str(DEFAULT_RATE if state.rate is None else state.rate),
            "live_rate",
            lambda now, value: replace(now, rate=float(value) if value else None),
            help="Share of right answers that may be flagged.",
            is_list=True,
            width=150,
        )


def _with_detector(now: ViewState, value: str | None) -> ViewState:
    if value in (None, _NONE):
        colour = None if now.colour == "detector" else now.colour
        return replace(now, detector=None, rate=None, colour=colour)
    return replace(now, detector=value, colour="detector")


def _on_feature() -> None:
    feature = session.picked(_TABLE, "picked")
    if feature is not None:
        session.select_feature(None if feature == NO_FEATURE else feature)

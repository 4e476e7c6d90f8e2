"""Confabulation: which answers are made up, by whose word, and which features tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.audit_list import audit_list
from dashboard.components.boundary import error_boundary
from dashboard.components.link_choice import link_choice
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.confabulation_parts.answers_part import show_answers
from dashboard.confabulation_parts.detector_part import show_detector, show_features, show_shelf
from dashboard.confabulation_parts.outcomes_part import (
    list_agreements,
    read_effect,
    show_outcomes,
    show_tools,
)
from dashboard.confabulation_parts.page_data import PageData, read_page
from dashboard.confabulation_parts.set_part import (
    choose_set,
    choose_source,
    empty_page,
    fill_button,
    import_button,
    list_sets,
    show_work,
)
from dashboard.confabulation_view import TABS, estimate_words, find_slice, list_gaps
from dashboard.links import ViewState
from dashboard.outcome_words import TOOLS_WORDS
from dashboard.services import get_services
from dashboard.shared_link import share_link, tell_changes
from engine.api import WHOLE
from store.errors import QuestionSetNotFoundError


def show_summary(page: PageData) -> None:
    """The story in four figures."""
    shares = {item.tools: _false_share(page, item.tools) for item in page.counts}
    reports = page.evaluation.detectors if page.evaluation else ()
    best = next((item for item in reports if item.is_chosen), None)
    whole = find_slice(best, WHOLE) if best else None
    found = page.evaluation.audits if page.evaluation else ()
    n_red = sum(item.is_red for item in found)
    figures = (
        (f"Answers{page.toy}", f"{page.n_answers:,}", "Stored answers of this source to the set."),
        (
            f"False, {' → '.join(TOOLS_WORDS[tools] for tools in shares)}{page.toy}",
            " → ".join(f"{share:.1%}" for share in shares.values()),
            "Made up or wrong, of all answers; the part on tools compares equal questions.",
        ),
        (
            f"AUROC of the detector{page.toy}",
            estimate_words(whole.auroc) if whole else "not trained",
            f"{best.name}, on held-out answers." if best else "Train one in the part Detector.",
        ),
        (
            "Audits",
            "–" if not found else f"{n_red} of {len(found)} red" if n_red else "none red",
            "Red: something that has nothing to do with truth tells the kinds apart.",
        ),
    )
    with st.container(horizontal=True, gap="large", key="summary"):
        for name, value, help_ in figures:
            st.metric(name, value, help=help_, width="content")


def _false_share(page: PageData, tools: bool) -> float:
    effect = read_effect(page, is_paired=False)
    cells = [effect.cell(tools, meaning) for meaning in ("made_up", "wrong")] if effect else []
    return sum(cell.share.value for cell in cells if cell is not None)


def show_audits(page: PageData) -> None:
    """What else tells the kinds apart."""
    if page.evaluation is None:
        st.text("Audits come with the training of detectors: see the tab Detector.")
        return
    st.text(
        "Each audit is a probe that sees one thing alone, which has nothing to do with truth. "
        "Where it tells false answers from right ones, a detector may have learned that instead."
    )
    audit_list(page.evaluation.audits, page.toy)


def show_gaps(page: PageData) -> None:
    """What the page cannot say yet."""
    lab = page.services.engine.confabulation
    gaps = list_gaps(
        page.evaluation,
        read_effect(page),
        list_agreements(page),
        lab.judge_needs(),
        page.source.is_toy,
    )
    with st.container(key="dense-gaps"):
        for gap in gaps:
            title, needed = st.columns([4, 8], gap="small", vertical_alignment="center")
            title.text(gap.title)
            needed.text(gap.needed)


def show_detectors(page: PageData) -> None:
    """The detector against its baselines, then the shelf of stored ones."""
    show_detector(page)
    show_shelf(page)


PARTS: dict[str, Callable[[PageData], None]] = {
    "answers": show_answers,
    "outcomes": show_outcomes,
    "tools": show_tools,
    "features": show_features,
    "detector": show_detectors,
    "audits": show_audits,
    "gaps": show_gaps,
}

services = get_services()
link = services.get_link(session.read_link())
state = link.state
sources = services.engine.sources()
source = next((item for item in sources if item.name == state.source), sources[0])
place = page_header(
    "Which answers are made up, and which features tell?",
    source,
    services.engine.status(),
    link.problems,
)
if state.source is not None and state.source != source.name:
    notice("warning", "There is no source of the link's name.", "The first one is shown.")
options = list_sets(services, source)
set_name = state.set or next(iter(options), "scenarios")
built = services.engine.confabulation.find_built_in(set_name, source.name)
set_name = built.name if built else set_name
kept = services.engine.confabulation.sets.find_set(set_name)
if kept is None and set_name not in options:
    raise QuestionSetNotFoundError(set_name)
if set_name not in options:
    options = {set_name: kept.name if kept else set_name, **options}
page = read_page(services, state, source, kept)
with place:
    share_link(services, "confabulation", replace(state, source=source.name, set=set_name))
tell_changes(services, state, source.name)
with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    if len(sources) > 1:
        choose_source(sources, source)
    choose_set(options, set_name)
    with error_boundary():
        fill_button(page, set_name)
    import_button(page)
told = session.take_notice()
if told is not None:
    notice("info", *told)
is_asking = show_work(services, state)
if is_asking and not page.n_answers:
    st.text("The first answers are on their way; they are shown once all are asked.")
elif not page.n_answers:
    empty_page(page, set_name)
else:
    show_summary(page)
    tab = state.tab if state.tab is not None and state.tab in TABS else "answers"
    link_choice(
        "Part",
        dict(TABS),
        tab,
        "tab",
        lambda now, value: ViewState(
            source=now.source,
            set=now.set,
            tab=value,
            detector=now.detector,
            slice=now.slice,
            curves=now.curves,
        ),
    )
    with error_boundary():
        PARTS[tab](page)

"""Searching features, as the page Features does it: by words and filters, by a token, by a text.

Invariant: what is searched is in the link; a search that cannot be read says where and why. What is
left out by itself is counted, and can be shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.feature_results import (
    fires_on_table,
    firing_table,
    found_table,
    left_out,
)
from dashboard.components.feature_text import text_form
from dashboard.components.field_help import field_help
from dashboard.components.notice import notice
from dashboard.components.token_strip import PAGE_TOKENS, token_strip
from dashboard.feature_parts.under_way import follow_text, go
from dashboard.links import MAX_WORDS_CHARS, ViewState
from dashboard.run_view import RunView
from dashboard.services import Services
from dashboard.shading import Shading
from store.errors import RunNotFoundError
from store.feature_firing import FiringMetric
from store.feature_search import FeatureSort
from store.filter_fields import FEATURE_FIELDS

PAGE_ROWS = 25
_STRIP = "firing_strip"
_SORT_NAMES = {
    "relevance": "best match",
    "density": "density",
    "max": "largest value",
    "mean": "mean value",
    "n": "tokens active",
    "score": "score of the label",
    "feature": "number",
}
_METRIC_NAMES = {
    "value": "Value",
    "relative": "Against its largest",
    "rarity": "Rarity",
}


def show_found(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """One box for words of labels and conditions; features that pass."""
    sort: FeatureSort = next(
        (item for item in get_args(FeatureSort) if item == state.sort), "relevance"
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with (
            st.form(f"search-{hash(state.where)}", border=False),
            st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
        ):
            typed = st.text_input(
                "Words of a label, and conditions",
                value=state.where or "",
                max_chars=MAX_WORDS_CHARS,
                placeholder="language density<1% AND (labelled:yes OR generated>50%)",
            )
            chosen = st.selectbox(
                "Order",
                list(_SORT_NAMES),
                index=list(_SORT_NAMES).index(sort),
                format_func=_SORT_NAMES.__getitem__,
                width=170,
            )
            is_sent = st.form_submit_button("Search", icon=":material/search:", type="primary")
        with st.popover("Conditions", icon=":material/help:", type="tertiary", key="fields"):
            field_help(FEATURE_FIELDS)
    if is_sent:
        wanted = None if chosen == "relevance" else chosen
        go(replace(state, where=typed.strip() or None, sort=wanted, page=None))
    page_no = state.page or 0
    is_shown = state.dense is not None
    found = services.search.search_features(
        source,
        state.where or "",
        sort=sort,
        descending=sort != "feature",
        limit=PAGE_ROWS,
        offset=page_no * PAGE_ROWS,
        show_all=is_shown,
    )
    first = page_no * PAGE_ROWS
    toy = ", a toy's" if is_toy else ""
    if not found.n_found:
        st.text("No feature passes. Take a condition out, or look for another word.")
    elif not found.rows:
        st.text(f"There are {found.n_found:,} features, and no page {page_no + 1}.")
    else:
        last = first + len(found.rows)
        st.caption(f"{first + 1:,} to {last:,} of {found.n_found:,} features{toy}")
        found_table(found.rows, source, key="found")
    _pages(state, page_no, found.n_found)
    _dense(state, found.n_dense, found.n_first)


def show_token(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """Features that fire on a token, or on the last of several."""
    with (
        st.form(f"token-{hash(state.find)}", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        typed = st.text_input(
            "A word, a token, or several that follow each other",
            value=state.find or "",
            max_chars=200,
            placeholder="do not know",
        )
        is_sent = st.form_submit_button("Search", icon=":material/search:", type="primary")
    if is_sent:
        go(replace(state, find=typed.strip() or None))
    if state.find is None:
        st.text("Type what the features should fire on; of several tokens, it is the last one.")
        return
    found = services.firing.search_by_text(
        source, state.find, PAGE_ROWS, show_all=state.dense is not None
    )
    toy = ", a toy's" if is_toy else ""
    sampled = "" if found.n_sampled >= found.n_occurrences else f", {found.n_sampled:,} sampled"
    if found.rows:
        st.caption(
            f"The most specific first; it occurs {found.n_occurrences:,} times{sampled}{toy}"
        )
        fires_on_table(found.rows, source, key="fires_on")
    elif found.n_occurrences:
        st.text(f"It occurs {found.n_occurrences:,} times, and no feature fires on it often.")
    else:
        st.text("No stored token is that text. Try one word of it.")
    _dense(state, found.n_dense, found.n_first)


def show_firing(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """A text of one's own: what fires on the tokens that are chosen in it."""
    typed = text_form(state.text or "")
    if typed is not None:
        with error_boundary():
            _read_text(services, source, typed)
        return
    job_now = services.find_job(state.job)
    if job_now is not None and job_now.is_active:
        follow_text(services, job_now.job_id)
        return
    if job_now is not None and job_now.failure is not None:
        failure = job_now.failure
        notice("error", failure.message, failure.hint, title="The text was not read")
        return
    run_key = state.run or (job_now.run_key if job_now is not None else None)
    if run_key is None:
        st.text("Type a text above; then choose tokens in it to see what fires on them.")
        return
    try:
        view = services.get_run_view(run_key)
    except RunNotFoundError as error:
        notice("info", error.message, "Read the text again.")
        return
    positions = chosen_positions(state.find, len(view.tokens))
    token_strip(
        view.tokens[:PAGE_TOKENS],
        0,
        _chosen_shading(view, positions),
        None,
        identity=f"{view.run.run_key}-firing",
        key=_STRIP,
        on_pick=_on_token,
    )
    metric: FiringMetric = next(
        (item for item in get_args(FiringMetric) if item == state.sort), "value"
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Order", width="content")
        wanted = st.segmented_control(
            "Order",
            get_args(FiringMetric),
            default=metric,
            format_func=_METRIC_NAMES.__getitem__,
            required=True,
            label_visibility="collapsed",
            key=f"metric-{metric}",
        )
        which = f"{len(positions)} chosen tokens" if positions else "all tokens; click some"
        st.caption(f"{'toy · ' if is_toy else ''}{which}", width="content")
        if positions and st.button("Choose none", type="tertiary", key="choose_none"):
            go(replace(state, find=None))
    if wanted != metric:
        go(replace(state, sort=None if wanted == "value" else wanted))
    found = services.firing.list_firing(
        run_key, positions or None, metric, 2 * PAGE_ROWS, show_all=state.dense is not None
    )
    texts = {token.position: token.text for token in view.tokens}
    firing_table(found.rows, texts, source, key="firing")
    st.caption(f"{len(found.rows):,} of {found.n_found:,} features that fire there.")
    _dense(state, found.n_dense, found.n_first)


def _read_text(services: Services, source: str, text: str) -> None:
    job = services.engine.features.submit_text(source, text, session.user_name())
    run_key = job.run_key or None
    go(ViewState(source=source, tab="text", text=text, job=job.job_id, run=run_key))


def chosen_positions(find: str | None, n_tokens: int) -> tuple[int, ...]:
    """Positions in a link such as `3,7`; what is none of the run's is left out."""
    parts = (find or "").split(",")
    numbers = {int(part) for part in parts if part.isdecimal() and len(part) < 10}
    return tuple(sorted(number for number in numbers if number < n_tokens))


def _on_token() -> None:
    """A click chooses a token, or lets it go; the others stay chosen."""
    position = session.picked(_STRIP, "picked")
    state = session.view()
    if position is None or position < 0:
        return
    chosen = set(chosen_positions(state.find, position + 1_000_000)) ^ {position}
    find = ",".join(map(str, sorted(chosen))) or None
    session.show(replace(state, find=find, token=None, scope=None))


def _chosen_shading(view: RunView, positions: tuple[int, ...]) -> Shading | None:
    if not positions:
        return None
    values = dict.fromkeys(positions, 1.0)
    return Shading("chosen tokens", "chosen", "no", values, 2.0, "", "")


def _dense(state: ViewState, n_dense: int, n_first: int) -> None:
    wanted = left_out(n_dense, n_first, state.dense is not None)
    if wanted is not None:
        go(replace(state, dense="shown" if wanted else None, page=None))


def _pages(state: ViewState, page_no: int, n_found: int) -> None:
    if n_found <= PAGE_ROWS and not page_no:
        return
    with st.container(horizontal=True, gap="small"):
        back = st.button("Before", icon=":material/chevron_left:", disabled=not page_no, key="back")
        is_last = (page_no + 1) * PAGE_ROWS >= n_found
        on = st.button("Next", icon=":material/chevron_right:", disabled=is_last, key="next")
    if back or on:
        number = page_no - 1 if back else page_no + 1
        go(replace(state, page=number or None))

"""Two runs side by side, as the page Compare shows them.

Invariant: both runs are in the link; nothing is computed but what the two stored runs say.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.feature_table import LABEL, NO_FEATURE, Cell, Column, feature_table
from dashboard.components.notice import notice
from dashboard.components.run_list import one_line
from dashboard.components.run_pair import MAX_TOKENS, run_pair
from dashboard.feature_parts.under_way import go
from dashboard.links import ViewState, to_params
from dashboard.services import Services
from store.errors import RunNotFoundError, StoreError
from store.records import Run

N_FEATURES = 200
N_RUNS = 60
_TABLE = "pair_table"
_PROMPT_CHARS, _RESPONSE_CHARS = 60, 50
_COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE; a click shades both runs."),
    LABEL,
    Column("A − B", "signed", "Difference of its largest values in the two runs."),
    Column("max A", "value", "Its largest value in A."),
    Column("max B", "value", "Its largest value in B."),
    Column("at in A", "count", "Position of its largest value in A."),
    Column("at in B", "count", "Position of its largest value in B."),
)


def show_pair(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """The choice of two runs, and what tells them apart."""
    state = _choose(services, state, source)
    if state.run is None or state.other is None:
        st.text("Choose two runs above. The page of a run has a link to here, too.")
        return
    try:
        a, b = services.get_run_view(state.run), services.get_run_view(state.other)
    except RunNotFoundError as error:
        notice("warning", error.message, error.hint)
        return
    found = services.engine.features.compare_runs(state.run, state.other, N_FEATURES)
    if found.parts_at is None:
        where = "Their tokens are equal."
    elif found.parts_at == 0:
        where = "They differ from the first token on."
    else:
        n_shared = found.parts_at
        where = f"They share their first {f'{n_shared:,} tokens' if n_shared > 1 else 'token'}."
    st.text(f"{where} {found.note}".strip())
    unit = " (toy)" if is_toy else ""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _names(a.run, b.run)
        run_pair(a, b, found.blocks, state.feature, unit, key="run_pair")
        if max(len(a.tokens), len(b.tokens)) > MAX_TOKENS:
            st.caption(f"The first {MAX_TOKENS:,} tokens are drawn; features are of all.")
    with right:
        rows: list[list[Cell]] = [
            [
                item.feature,
                item.label,
                item.difference,
                item.max_a,
                item.max_b,
                item.position_a,
                item.position_b,
            ]
            for item in found.features
        ]
        cut = f", the first {len(rows):,}" if len(rows) < found.n_features else ""
        st.caption(f"{found.n_features:,} features differ in their largest value{unit}{cut}")
        if rows:
            feature_table(_COLUMNS, rows, state.feature, _TABLE, _on_feature, a.run.source_name)


def _choose(services: Services, state: ViewState, source: str) -> ViewState:
    runs = {run.run_key: run for run in services.runs.list_recent_runs(N_RUNS)}
    for run_key in (state.run, state.other):
        if run_key is not None and run_key not in runs:
            stored = services.runs.find_run(run_key)
            if stored is not None:
                runs[run_key] = stored.run
    first = runs.get(state.run or "")
    # what differs in one thing only is worth most: runs of the same question come first
    others = sorted(runs, key=lambda key: first is None or runs[key].prompt != first.prompt)
    left, swap, right = st.columns([5, 0.8, 5], gap="small", vertical_alignment="bottom")
    a = _pick(left, "Run A", list(runs), state.run, runs)
    b = _pick(right, "Run B", [key for key in others if key != a], state.other, runs)
    if swap.button("", icon=":material/swap_horiz:", key="swap", help="Change places"):
        go(replace(state, run=state.other, other=state.run))
    with st.popover("Find a run by its key or by a filter", type="tertiary", key="find_run"):
        _find(services, state, source)
    # a run of the link that is not stored is no option: nothing was chosen in its place
    chosen = replace(state, run=a or state.run, other=b or state.other)
    if chosen != state:
        go(chosen)
    return state


def _pick(
    place: st.delta_generator.DeltaGenerator,
    label: str,
    keys: list[str],
    chosen: str | None,
    runs: dict[str, Run],
) -> str | None:
    return place.selectbox(
        label,
        keys,
        index=keys.index(chosen) if chosen in keys else None,
        format_func=lambda key: _words(runs[key]),
        placeholder="a stored run",
        key=f"{label}-{chosen}-{len(keys)}",
    )


def _find(services: Services, state: ViewState, source: str) -> None:
    with st.form("find_runs", border=False):
        where = st.text_input("A filter of runs", placeholder="run:0a1b, or verdict:made_up")
        which = st.selectbox("as", ["Run A", "Run B"])
        is_sent = st.form_submit_button("Take the newest", icon=":material/search:")
    if not is_sent:
        return
    try:
        found = services.run_sets.list_run_keys(where, source, 1)
    except StoreError as error:
        notice("warning", error.message, error.hint, title="Filter")
        return
    if not found:
        st.text("No run passes.")
    elif which == "Run A":
        go(replace(state, run=found[0]))
    else:
        go(replace(state, other=found[0]))


def _names(a: Run, b: Run) -> None:
    for column, name, run in zip(st.columns(2, gap="small"), "AB", (a, b), strict=True):
        column.page_link(
            "views/ask.py",
            label=f"Run {name}",
            icon=":material/chat:",
            query_params=to_params(ViewState(run=run.run_key)),
        )
        column.text(one_line(run.response, _RESPONSE_CHARS) or "read, not answered")


def _words(run: Run) -> str:
    """A run as an option, which is plain text: question, answer, what was special, key."""
    parts = [one_line(run.prompt, _PROMPT_CHARS)]
    if run.response:
        parts.append(f"→ {one_line(run.response, _RESPONSE_CHARS)}")
    if run.tools:
        parts.append("· tools")
    if run.steering not in ("", "[]"):
        parts.append("· steered")
    return " ".join([*parts, f"· {run.run_key[:6]}"])


def _on_feature() -> None:
    feature = session.picked(_TABLE, "picked")
    if feature is not None:
        session.show(replace(session.view(), feature=None if feature == NO_FEATURE else feature))

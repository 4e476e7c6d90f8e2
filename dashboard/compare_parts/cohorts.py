"""Two cohorts of runs, as the page Compare shows them: chosen by filters, compared by a task.

Invariant: the whole comparison is in the link, and a link that says so computes what is not known
yet. Counts of runs are shown before anything is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import streamlit as st

from dashboard import session
from dashboard.cohort_charts import forest_chart, null_chart, volcano_chart
from dashboard.components.boundary import error_boundary
from dashboard.components.cohort_table import cohort_findings, cohort_head, cohort_table
from dashboard.components.context_list import context_list
from dashboard.components.feature_table import NO_FEATURE
from dashboard.components.field_help import field_help
from dashboard.components.source_head import source_head
from dashboard.components.task_progress import task_end
from dashboard.feature_parts.under_way import find_task, follow, go
from dashboard.links import MAX_WORDS_CHARS, Groups, Positions, ViewState, to_params
from dashboard.run_presets import COHORT_PRESETS
from dashboard.services import Services
from engine.api import CohortComparison, CohortRequest
from store.errors import SourceNotFoundError, StoreError
from store.feature_records import ContextFilter
from store.filter_fields import RUN_FIELDS

N_CONTEXTS = 10
_TABLE = "cohort_table"
_OWN = "filters of mine"
_Name = TypeVar("_Name", bound=str)
_POSITIONS: dict[Positions, str] = {
    "generated": "generated tokens",
    "all": "all tokens",
    "prompt": "prompt",
    "last_prompt": "last token of the prompt",
}
_GROUPS: dict[Groups, str] = {"question": "each question", "run": "each run"}


def show_cohorts(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """The choice of cohorts; below it what came of comparing them.

    A page that names no cohort shows the first ready-made pair of which runs are stored.
    """
    if state.a is None and state.b is None and state.show is None:
        state = _begin(services, state, source)
    state = _choose(services, state, source)
    if state.a is None or state.b is None:
        st.text("Choose what to compare: a pair above, or two filters of your own.")
        return
    request = CohortRequest(
        source,
        state.a,
        state.b,
        positions=state.positions or "generated",
        groups=state.groups or "question",
    )
    task = find_task(services, state, "compare") if state.task else None
    if task is not None and task.is_active:
        follow(services, task, "compare")
        return
    with error_boundary():
        found = services.engine.features.find_comparison(request)
        if found is not None:
            _show_comparison(services, state, source, found)
            return
        is_again = task is not None and task_end(task, "compare")
        # a shared link shows what it is of: what is not known here is computed
        is_wanted = state.show == "chart" and (task is None or task.state == "done")
        if is_again or is_wanted:
            begun = services.engine.features.start_comparison(request, session.user_name())
            go(replace(state, task=begun.task_id, show="chart"))


def _begin(services: Services, state: ViewState, source: str) -> ViewState:
    for pair in COHORT_PRESETS.values():
        if all(services.run_sets.count_runs(where, source) for where in pair):
            return replace(state, a=pair[0], b=pair[1], show="chart")
    return state


def _choose(services: Services, state: ViewState, source: str) -> ViewState:
    names = [*COHORT_PRESETS, _OWN]
    pair = (state.a or "", state.b or "")
    known = next((name for name, value in COHORT_PRESETS.items() if value == pair), None)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    with row:
        preset = st.selectbox(
            "Compare",
            names,
            index=names.index(known or _OWN) if any(pair) else None,
            placeholder="two cohorts",
            width=240,
            key=f"preset-{hash(pair)}",
        )
        positions = _pick("On", _POSITIONS, state.positions or "generated", 190)
        groups = _pick("Counted once", _GROUPS, state.groups or "question", 150)
        with st.popover("Filters", icon=":material/help:", type="tertiary", key="run_fields"):
            field_help(RUN_FIELDS)
    left, right = st.columns(2, gap="small")
    with left:
        a = _cohort(services, "A", state.a or "", source)
    with right:
        b = _cohort(services, "B", state.b or "", source)
    is_asked = row.button(
        "Compare", type="primary", icon=":material/balance:", disabled=not (a and b), key="compare"
    )
    if preset is not None and preset != _OWN and preset != known:
        a, b = COHORT_PRESETS[preset]
    chosen = replace(
        state,
        a=a or None,
        b=b or None,
        positions=None if positions == "generated" else positions,
        groups=None if groups == "question" else groups,
    )
    if chosen != state:
        go(replace(chosen, show=None, task=None, feature=None))
    if is_asked:
        go(replace(chosen, show="chart", task=None))
    return chosen


def _pick(label: str, names: Mapping[_Name, str], value: _Name, width: int) -> _Name:
    options = list(names)
    return st.selectbox(
        label,
        options,
        index=options.index(value),
        format_func=names.__getitem__,
        width=width,
        key=f"{label}-{value}",
    )


def _cohort(services: Services, name: str, where: str, source: str) -> str:
    typed = st.text_input(
        f"Cohort {name}",
        value=where,
        max_chars=MAX_WORDS_CHARS,
        placeholder='verdict:made_up AND tools:no, or sql:"SELECT run_key FROM ..."',
        key=f"cohort-{name}-{hash(where)}",
    ).strip()
    if not typed:
        st.caption("Nothing chosen yet.")
        return ""
    try:
        n_runs = services.run_sets.count_runs(typed, source)
    except SourceNotFoundError:
        raise
    except StoreError as error:
        st.text(f"{error.message} {error.hint}")
    else:
        st.caption(f"{n_runs:,} runs" if n_runs != 1 else "1 run")
    return typed


def _show_comparison(
    services: Services, state: ViewState, source: str, found: CohortComparison
) -> None:
    cohort_head(found)
    effects = found.effects
    cohort_findings(effects)
    if not effects.rows:
        if effects.gate != "none":
            st.text("No feature fires in enough groups to be tested.")
        return
    left, right = st.columns([5, 4], gap="medium")
    with left:
        cohort_table(effects.rows, state.feature, source, _TABLE, _on_feature)
    with right:
        kinds = {"volcano": "All features", "forest": "Intervals", "null": "Chance alone"}
        kind = state.by if state.by in kinds else "volcano"
        wanted = st.segmented_control(
            "Plot",
            list(kinds),
            default=kind,
            format_func=kinds.__getitem__,
            required=True,
            label_visibility="collapsed",
            key=f"plot-{kind}",
        )
        if wanted != kind:
            go(replace(state, by=wanted))
        if kind == "forest":
            st.altair_chart(forest_chart(effects.rows), key="forest")
        elif kind == "null" and effects.null is not None:
            st.altair_chart(null_chart(effects.null, 260), key="null")
        else:
            event = st.altair_chart(
                volcano_chart(effects.rows, state.feature),
                key=f"volcano-{state.feature}",
                on_select="rerun",
            )
            picked = [row.get("feature") for row in event.get("selection", {}).get("chosen", [])]
            if picked and isinstance(picked[0], int) and picked[0] != state.feature:
                go(replace(state, feature=picked[0]))
        on_map = ViewState(
            source=source,
            tab="map",
            by="difference",
            a=state.a,
            b=state.b,
            positions=state.positions,
            groups=state.groups,
        )
        st.page_link(
            "views/features.py",
            label="On the map",
            icon=":material/scatter_plot:",
            query_params=to_params(on_map),
        )
    if state.feature is None:
        st.caption("Choose a feature in the table or the plot to see the contexts behind it.")
    else:
        _show_contexts(services, state, source, found, state.feature)


def _show_contexts(
    services: Services, state: ViewState, source: str, found: CohortComparison, feature: int
) -> None:
    """Where a feature fires in either cohort."""
    stats = services.features.get_feature_stats(found.source_id, feature)
    source_head(f"Feature {feature}", stats.label or "no label yet", [], [], key="cohort_feature")
    st.page_link(
        "views/feature.py",
        label=f":primary[Open feature {feature}]",
        icon=":material/arrow_forward:",
        query_params=to_params(ViewState(source=source, feature=feature)),
    )
    is_generated = (state.positions or "generated") == "generated"
    for column, name, where in zip(
        st.columns(2, gap="medium"), "AB", (state.a or "", state.b or ""), strict=True
    ):
        with column:
            st.subheader(f"In {name}", anchor=False)
            passed = services.contexts.list_filtered_contexts(
                found.source_id, feature, ContextFilter(is_generated, None, None, where), N_CONTEXTS
            )
            if passed.contexts:
                context_list(passed.contexts, feature, stats.max_value, key=f"contexts-{name}")
            else:
                st.text("It does not fire there.")


def _on_feature() -> None:
    feature = session.picked(_TABLE, "picked")
    if feature is not None:
        session.show(replace(session.view(), feature=None if feature == NO_FEATURE else feature))

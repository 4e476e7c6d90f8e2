"""Home: what this is, examples to ask, recent runs, what the store holds and what it saved."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from dashboard import session
from dashboard.components.copy_link import copy_link
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.preparation_panel import preparation_panel
from dashboard.components.run_badge import duration
from dashboard.components.run_list import run_list
from dashboard.components.source_problem import source_problem
from dashboard.links import ViewState, to_params
from dashboard.run_presets import COHORT_PRESETS
from dashboard.services import get_services
from engine.api import SourceInfo
from store.records import StoreSummary

N_RECENT = 12


def show_examples(source: SourceInfo) -> None:
    """Questions that are worth asking first; a click asks."""
    st.subheader("Ask one of these", anchor=False)
    for column, (index, example) in zip(
        st.columns(len(source.examples), gap="small"), enumerate(source.examples), strict=True
    ):
        with column, st.container(border=True, gap="xsmall", height="stretch"):
            state = ViewState(source=source.name, example=index)
            st.markdown(f"**{example.title}**")
            st.code(example.prompt, language=None, wrap_lines=True)
            st.caption(example.explanation)
            st.page_link(
                "views/ask.py",
                label=":primary[Ask this]",
                icon=":material/send:",
                query_params=to_params(state),
            )


def show_summary(summary: StoreSummary) -> None:
    """Size of the store, and what the memo saved."""
    figures = (
        ("Runs", f"{summary.n_runs:,}", "Generations and texts, each computed once."),
        ("Tokens", f"{summary.n_tokens:,}", "Prompt tokens included."),
        ("Activations", f"{summary.n_activations:,}", "Every feature above zero on every token."),
        ("On disk", f"{summary.size_bytes / 1e6:,.1f} MB", "The DuckDB file and its log."),
        ("Memo hits", f"{summary.hits:,}", "Questions answered from the store."),
        ("Saved", duration(summary.saved_s), "Seconds of computing that those hits saved."),
    )
    for column, (name, value, meaning) in zip(st.columns(6, gap="small"), figures, strict=True):
        column.metric(name, value, help=meaning)


def show_ways(source: SourceInfo | None) -> None:
    """Where the questions lead that come after the first one."""
    name = None if source is None else source.name
    made_up, honest = COHORT_PRESETS["made up against honest"]
    ways = (
        ("features", "Search features", "search", ViewState(source=name)),
        ("features", "See them on a map", "scatter_plot", ViewState(source=name, tab="map")),
        ("features", "Label them", "label", ViewState(source=name, tab="labels")),
        (
            "compare",
            "Made up against honest answers",
            "balance",
            ViewState(source=name, a=made_up, b=honest, show="chart"),
        ),
        ("confabulation", "Which answers are made up", "fact_check", ViewState(source=name)),
        ("steer", "Steer an answer", "tune", ViewState(source=name)),
    )
    with st.container(horizontal=True, gap="small"):
        for page, label, icon, state in ways:
            st.page_link(
                f"views/{page}.py",
                label=label,
                icon=f":material/{icon}:",
                query_params=to_params(state),
            )


services = get_services()
link = session.read_link()
sources = services.engine.sources()
source = sources[0] if sources else None
place = page_header("What did the model compute?", source, services.engine.status(), link.problems)
with place:
    copy_link("/", key="copy_link")
st.markdown(
    "Ask a language model, and see which features of a sparse autoencoder fired on every token. "
    "Each answer is computed once and kept with all its activations: "
    "every later look, link or query is a read."
)
if source is None:
    notice("warning", "No source is configured.", "Set FEATUREBOOK_SOURCE to one of the catalog.")
else:
    if source.problem is not None:
        source_problem(
            source.name,
            source.problem,
            "Stored runs can be opened all the same.",
            is_missing=not services.engine.weights(source.name).is_complete,
        )
    if source.examples:
        show_examples(source)
summary = services.runs.summarise()
if source is not None and source.is_toy and source.is_ready:
    name = source.name
    preparation_panel(
        lambda: next(iter(services.engine.tasks.tasks("prepare")), None),
        not summary.n_runs,
        lambda: services.engine.preparation.start(name, session.user_name()),
        lambda task: services.engine.tasks.cancel(task.task_id),
    )
show_summary(summary)
show_ways(source)
runs = services.runs.list_recent_runs(N_RECENT)
st.subheader("Recent runs", anchor=False)
if runs:
    run_list(runs, now=datetime.now(UTC))
else:
    st.text("Nothing is stored yet. Ask one of the examples, or your own question.")
    st.page_link("views/ask.py", label="Ask a question", icon=":material/chat:")

"""The labels of all features of a source: how far, how good, and what makes more of them.

Invariant: labelling is a task of the engine, which resumes; a hosted model is asked for nothing
before its cost was shown.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.notice import notice
from dashboard.components.task_progress import task_end
from dashboard.feature_charts import score_chart
from dashboard.feature_parts.under_way import find_task, follow, go
from dashboard.links import ViewState
from dashboard.services import Services
from engine.api import HostedOffer, TaskView
from engine.errors import EngineError
from store.feature_records import MIN_SCORE

_ORIGINS = {"human": "by hand", "auto": "automatic", "model": "by a model"}


def show_labels(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """How far the labels are, how good they are, and what makes more of them."""
    scores = services.labels.get_all_scores(source)
    lab = services.engine.features
    try:
        plan = lab.label_plan(source)
    except EngineError as error:
        notice("info", error.message, error.hint, title="Files")
        return
    current = services.labels.get_current_labels(source)
    by_hand = sum(label.origin == "human" for label in current.values())
    toy = " (toy)" if is_toy else ""
    figures = (
        ("Features", f"{plan.n_features:,}", "That the source has."),
        ("Labelled", f"{len(current):,}{toy}", "With a current label, of whatever origin."),
        ("By hand", f"{by_hand:,}", "Current labels that a person wrote."),
        (f"Automatic, from {MIN_SCORE:g}", f"{plan.n_labelled:,}{toy}", "By rules, and held up."),
        (f"Below {MIN_SCORE:g}", f"{plan.n_below:,}{toy}", "Tried, and left unlabelled."),
    )
    for column, (name, value, meaning) in zip(st.columns(5, gap="small"), figures, strict=True):
        column.metric(name, value, help=meaning)
    if scores:
        named = [(score, _ORIGINS.get(origin, origin)) for origin, score in scores]
        st.altair_chart(score_chart(named, MIN_SCORE), key="scores")
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("By rules, without any model", anchor=False)
        _automatic(services, state, source)
    with right:
        st.subheader("By a hosted model", anchor=False)
        _hosted(services, state, source)


def _automatic(services: Services, state: ViewState, source: str) -> None:
    st.text(
        "Each feature is described by the tokens and circumstances that it goes with; the rule is "
        "scored on contexts that it was not made from, hard negatives among them."
    )
    task = find_task(services, state, "labels")
    if task is not None and task.is_active:
        follow(services, task, "labels")
        return
    is_again = task is not None and task_end(task, "labels")
    if task is not None and task.state == "done":
        st.text(_result_words(task))
    with st.container(horizontal=True, gap="small"):
        is_begun = st.button(
            "Label all features", icon=":material/label:", type="primary", key="labels"
        )
        is_redone = st.button(
            "Label all anew",
            icon=":material/replay:",
            key="relabel",
            help="Also those that were labelled before, from everything stored now.",
        )
    if is_again or is_begun or is_redone:
        begun = services.engine.features.start_labels(
            source, session.user_name(), is_redo=is_redone
        )
        go(replace(state, task=begun.task_id))


def _hosted(services: Services, state: ViewState, source: str) -> None:
    task = find_task(services, state, "hosted-labels")
    if task is not None and task.is_active:
        follow(services, task, "hosted-labels")
        return
    if task is not None and task.state == "done":
        st.text(_result_words(task))
    elif task is not None:
        task_end(task, "hosted-labels")
    st.text("Optional: another model reads contexts and writes the labels; they are scored alike.")
    if not st.toggle("What would it cost?", key="hosted_offer"):
        return
    with error_boundary():
        offer = services.engine.features.hosted_offer(source)
        _show_offer(offer)
        if offer.needs is None and st.button(
            f"Label {offer.n_features:,} features", icon=":material/cloud_upload:", key="hosted"
        ):
            begun = services.engine.features.start_hosted_labels(source, session.user_name())
            go(replace(state, task=begun.task_id))


def _show_offer(offer: HostedOffer) -> None:
    cost = "price not known" if offer.cost_usd is None else f"about ${offer.cost_usd:,.2f}"
    st.text(
        f"{offer.model}: {offer.n_features:,} features, {offer.input_tokens:,} tokens read and "
        f"{offer.output_tokens:,} written, {cost}."
    )
    st.text(offer.price_note)
    if offer.needs is not None:
        notice("info", offer.needs, "Nothing else on these pages needs it.", title="Needs a key")


def _result_words(task: TaskView) -> str:
    names = {
        "n_labelled": "labelled",
        "n_below": "below the score",
        "n_no_rule": "without a rule",
        "n_few": "with too few contexts",
        "n_before": "done before",
        "n_refused": "refused",
        "n_nonsense": "answered without sense",
    }
    parts = [f"{task.result[key]:,} {word}" for key, word in names.items() if task.result.get(key)]
    return f"Done: {', '.join(parts) or 'nothing was left to do'}."

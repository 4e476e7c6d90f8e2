"""Ask: a question to the model, its answer, the features behind every token; or a stored run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from dashboard import session
from dashboard.ask_parts.answer_part import kept_choice, show_answer_facts
from dashboard.components.boundary import error_boundary
from dashboard.components.copy_link import copy_link
from dashboard.components.job_progress import job_progress
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.run_badge import run_badge
from dashboard.components.run_form import FormDefaults, run_form
from dashboard.components.run_list import one_line
from dashboard.components.run_panel import RunPanel, run_panel
from dashboard.components.source_problem import source_problem
from dashboard.components.steered_note import steered_note
from dashboard.links import ViewState, to_params, to_path
from dashboard.run_view import RunView
from dashboard.services import Services, get_services
from dashboard.shared_link import tell_changes
from engine.api import JobView, RunRequest, SourceInfo
from engine.errors import JobNotFoundError, WeightsMissingError
from store.errors import RunNotFoundError
from store.specs import Message, SamplingSpec, parse_interventions

POLL_S = 0.5
MAX_QUESTION_CHARS = 300


def submit(services: Services, request: RunRequest) -> None:
    """Asks, and makes the page's link that of the run."""
    job = services.engine.submit(request)
    session.remember_request(job.job_id, request)
    kept = kept_choice(session.view())
    session.show(replace(kept, run=job.run_key or None, job=job.job_id))


def ask(services: Services, request: RunRequest) -> None:
    """Asks, and draws the page again; missing weights are said, with the way to get them."""
    try:
        submit(services, request)
    except WeightsMissingError as error:
        if request.source is None:
            raise
        show_unready(services, request.source, error.message, error.hint)
    else:
        st.rerun()


def show_unready(services: Services, source: str, message: str, hint: str = "") -> None:
    """A source that cannot be asked as it stands."""
    is_missing = not services.engine.weights(source).is_complete
    source_problem(source, message, hint, is_missing)


def find_job(services: Services, job_id: str | None) -> JobView | None:
    """The link's job, if this server still has it."""
    if job_id is None:
        return None
    try:
        return services.engine.job(job_id)
    except JobNotFoundError:
        return None


def find_view(services: Services, run_key: str | None) -> RunView | None:
    """The link's run, if it is stored."""
    if run_key is None:
        return None
    try:
        return services.get_run_view(run_key)
    except RunNotFoundError:
        return None


def defaults_of(
    view: RunView | None, request: RunRequest | None, source: str | None
) -> FormDefaults:
    """The form opens with what the page shows, so that it can be asked again with a change."""
    if view is not None:
        run = view.run
        return FormDefaults(
            text=run.prompt if run.kind == "generation" else run.messages[-1].content,
            is_text=run.kind == "text",
            source=run.source_name,
            tools=run.tools,
            sampling=SamplingSpec(
                run.max_new_tokens, run.temperature, run.top_p, run.top_k, run.seed
            ),
        )
    if request is not None:
        return FormDefaults(
            text=request.messages[-1].content,
            is_text=request.kind == "text",
            source=request.source,
            tools=request.tools,
            sampling=request.sampling,
        )
    return FormDefaults(source=source)


@st.fragment(run_every=POLL_S)
def follow(services: Services, job_id: str) -> None:
    """Draws the job until it ends; then the whole page shows what came of it."""
    with error_boundary():
        job = find_job(services, job_id)
        if job is None or not job.is_active:
            st.rerun()
        elif job_progress(job, key="cancel"):
            services.engine.cancel(job_id)
            st.rerun()


def show_ended(services: Services, job: JobView, request: RunRequest | None) -> None:
    """A job that left no run: why, and what can be done."""
    if job.state == "cancelled":
        notice("info", "The run was cancelled; nothing of it is stored.", title="Cancelled")
    elif job.failure is not None:
        notice("error", job.failure.message, job.failure.hint, title="The run failed")
    else:
        notice("error", "The run ended without a result.", "Ask again.")
    if request is not None and st.button("Ask again", icon=":material/replay:", key="again"):
        ask(services, request)


def show_empty(source: SourceInfo | None) -> None:
    """Nothing asked yet: a sentence, and examples."""
    if source is None or not source.examples:
        st.text("Nothing asked yet. Type a question above.")
        return
    st.text("Nothing asked yet. Type a question above, or take an example:")
    with st.container(horizontal=True, gap="small"):
        for index, example in enumerate(source.examples):
            st.page_link(
                "views/ask.py",
                label=example.title,
                icon=":material/send:",
                query_params=to_params(
                    replace(kept_choice(session.view()), source=source.name, example=index)
                ),
            )


def show_run(
    services: Services, view: RunView, panel: RunPanel, is_fresh: bool, has_sae: bool
) -> None:
    """The answer, its tokens and features, and a line to go on with the chat."""
    run = view.run
    run_badge(run, is_fresh)
    tell_changes(services, session.view(), run.source_id, run_key=run.run_key)
    steered_note(run)
    earlier = run.messages[:-1]
    if earlier:
        with st.expander(f"{len(earlier)} earlier messages of this chat"):
            for message in earlier:
                st.caption(message.role)
                st.code(message.content, language=None, wrap_lines=True)
        st.text(one_line(run.prompt, MAX_QUESTION_CHARS))
    if run.kind == "generation":
        st.code(run.response or " ", language=None, wrap_lines=True)
    if not has_sae:
        st.caption("This source has no SAE: its tokens are kept with their odds, without features.")
    score = None
    if run.kind == "generation":
        toy = " (toy)" if panel.is_toy else ""
        score = show_answer_facts(services, view, session.view(), toy)
    run_panel(replace(panel, score=score))
    st.page_link(
        "views/compare.py",
        label="Compare with another run",
        icon=":material/compare_arrows:",
        query_params=to_params(ViewState(source=run.source_name, tab="runs", run=run.run_key)),
    )
    if run.kind == "generation":
        with st.container():  # a chat input outside of a container would pin itself and scroll
            follow_up = st.chat_input("Go on with this chat", key="follow_up")
        if follow_up:
            ask(services, continued(view, follow_up))


def continued(view: RunView, text: str) -> RunRequest:
    """The chat of a run with its answer and one more message."""
    run = view.run
    return RunRequest(
        messages=(*run.messages, Message("assistant", run.response), Message("user", text)),
        source=run.source_name,
        tools=run.tools,
        sampling=SamplingSpec(run.max_new_tokens, run.temperature, run.top_p, run.top_k, run.seed),
        steering=parse_interventions(json.loads(run.steering)),
        created_by=session.user_name(),
    )


def example_request(sources: Sequence[SourceInfo], state: ViewState) -> RunRequest | None:
    """What a link to an example asks, if there is such an example."""
    for source in sources:
        index = state.example
        if source.name == state.source and index is not None and index < len(source.examples):
            example = source.examples[index]
            return RunRequest(
                messages=(Message("user", example.prompt),),
                source=source.name,
                tools=example.tools,
                created_by=session.user_name(),
            )
    return None


def is_ready(sources: Sequence[SourceInfo], request: RunRequest) -> bool:
    """Whether the source of a request can be asked as it stands."""
    return all(source.is_ready for source in sources if source.name == request.source)


services = get_services()
link = session.read_link()
sources = services.engine.sources()
if link.state.example is not None and link.state.run is None:
    example = example_request(sources, link.state)
    if example is None:
        notice("warning", "The link's example does not exist.", "Ask your own question.")
    elif not is_ready(sources, example):
        session.show(ViewState(source=example.source))
    else:
        submit(services, example)
state = session.view()
job = find_job(services, state.job)
if job is not None and state.run is None and job.run_key:
    # which run it is was not known yet when it was asked
    state = replace(state, run=job.run_key)
    session.show(state)
view = find_view(services, state.run)
request = session.find_request(state.job) if state.job else None
name = view.run.source_name if view else (job.source if job else state.source)
source = next((item for item in sources if item.name == name), sources[0] if sources else None)
place = page_header(
    "Which features fire, token by token?", source, services.engine.status(), link.problems
)
asked = run_form(sources, defaults_of(view, request, state.source), session.user_name(), key="ask")
if asked is not None:
    ask(services, asked)
elif source is not None and source.problem is not None and state.run is None:
    show_unready(services, source.name, source.problem)

if view is not None and not (job is not None and job.is_active):
    is_fresh = job is not None and job.state == "done" and not job.memoized
    is_toy = source is not None and source.is_toy
    stats_of = partial(services.features.get_feature_stats, view.run.source_id)
    labels_of = partial(services.get_label_texts, view.run.source_id)
    has_sae = source is None or source.name != view.run.source_name or source.has_sae
    panel = RunPanel(view, stats_of, labels_of, place, is_toy)
    show_run(services, view, panel, is_fresh, has_sae)
elif job is not None and job.is_active:
    with place:
        copy_link(to_path("ask", state), key="copy_link")
    follow(services, job.job_id)
elif job is not None:
    with place:
        copy_link("/ask", key="copy_link")
    show_ended(services, job, request)
elif state.run is not None:
    raise RunNotFoundError(state.run)
else:
    with place:
        kept = replace(kept_choice(state), source=state.source)
        copy_link(to_path("ask", kept), key="copy_link")
    if state.detector is not None:
        st.caption("A detector is chosen: every answer will have its score.")
    show_empty(source)
